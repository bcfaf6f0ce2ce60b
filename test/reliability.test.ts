/** docs/reliability.md names a test for each fault: the file is there, and a test of that name in it. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
/** The last column: paths begin at test/ or plugin/, names are in quotes, and "…" stands for what differs. */
const REFERENCE = /((?:[\w-]+\/)*[\w.-]+\.(?:ts|cpp|txt))|"([^"]+)"/g

function* references(): Iterable<{ file: string; pieces: readonly string[] }> {
  for (const line of readFileSync(join(root, 'docs', 'reliability.md'), 'utf8').split('\n')) {
    if (!line.startsWith('| ')) continue
    let file = ''
    for (const [, path, name] of (line.split(' | ')[3] ?? '').matchAll(REFERENCE)) {
      if (path) file = path.startsWith('plugin/') ? path : `test/${path}`
      yield { file, pieces: (name ?? '').split('…').map(piece => piece.trim()) }
    }
  }
}

describe('docs/reliability.md', () => {
  it('names tests that there are', () => {
    const all = [...references()]
    assert.ok(all.length > 300)
    const missing = all.flatMap(({ file, pieces }) => {
      const path = join(root, file)
      if (file === '' || !existsSync(path)) return [`${file}: no such file`]
      const text = readFileSync(path, 'utf8').replaceAll("\\'", "'")
      return pieces.filter(piece => !text.includes(piece)).map(piece => `${file}: ${piece}`)
    })
    assert.deepEqual(missing, [])
  })
})
