/** `verify --state` as people run it: killed and started again, and what it refuses. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { program } from './support/program.ts'
import { linesOf, VerifySite } from './support/verify-site.ts'

/** Files that are well, and one of each fault that a folder can have. */
function filled(): VerifySite {
  const site = new VerifySite()
  for (let i = 0; i < 60; i++) site.add({ text: `file ${i}` })
  site.add({ lost: true })
  const damaged = site.add({ text: 'as it was' })
  site.write(`${damaged.uuid}.dcm`, 'as it is!')
  site.write(`${randomUUID()}.dcm`, 'an orphan')
  const fresh = `${randomUUID()}.dcm`
  site.write(fresh, 'just stored', { fresh: true })
  site.write(`cloud-storage-trash/${randomUUID()}.dcm`, 'put aside')
  return site
}

/** Without what a run needs for itself, and what shards do not count. */
function known(file: string) {
  return linesOf(file).map(({ seconds: _, places, ...line }) => ({
    ...line,
    ...(places && { places: places.map(({ strangers: __, ...place }: Record<string, unknown>) => place) }),
  }))
}
const byKey = (a: { key?: string }, b: { key?: string }) => String(a.key).localeCompare(String(b.key))

describe('verify --state', () => {
  it('prints what verify prints, and leaves no file when it is done', () => {
    const site = filled()
    const [state, whole, shared] = ['state', 'whole', 'shared'].map(name => join(site.folder, name))
    assert.ok(state && whole && shared)
    const one = site.run({ deep: true, json: whole })
    const other = site.run({ deep: true, json: shared, state })
    assert.deepEqual([one.status, other.status], [1, 1], other.stderr)
    assert.deepEqual(known(shared).sort(byKey), known(whole).sort(byKey))
    const sentences = (lines: readonly string[]) =>
      lines.filter(line => !/^(took|not counted in shards)/.test(line)).sort()
    assert.deepEqual(sentences(other.lines), sentences(one.lines))
    assert.ok(other.lines.includes("not counted in shards: keys that no file of Orthanc's has"))
    const [place] = linesOf(shared).at(-1).places
    assert.deepEqual([place.strangers, place.trash], [null, 1])
    assert.ok(!existsSync(state))
    assert.equal(other.stderr, '')
  })

  it('is killed at the second look and goes on: nothing is read again', () => {
    const site = filled()
    const state = join(site.folder, 'state')
    assert.equal(site.run({ deep: true, state }, { event: 'dies' }).status, null)
    // What was read is not read again: it is away, and nobody notices.
    for (const { uuid } of site.files.slice(0, 50)) rmSync(join(site.folder, 'objects', `${uuid}.dcm`))
    const { status, lines } = site.run({ deep: true, state })
    assert.equal(status, 1)
    assert.deepEqual(
      lines.map(line => line.replace(/:.*/s, '')).filter(kind => /^(missing|corrupt|orphan)$/.test(kind)),
      ['missing', 'corrupt', 'orphan', 'missing', 'corrupt', 'orphan'],
    )
    assert.ok(lines.includes('missing: 1'))
    assert.ok(lines.some(line => line.startsWith('61 files read to their end')))
  })

  it('is interrupted, says that its report is partial and how it goes on', () => {
    const site = filled()
    const state = join(site.folder, 'state')
    const { status, lines, stderr } = site.run({ state }, { event: 'is interrupted' })
    assert.equal(status, 3)
    assert.equal(lines[0], 'This report is partial: not everything could be looked at.')
    assert.match(stderr, /the same command goes on where it was, because of --state/)
    assert.match(stderr, /interrupted by SIGINT/)
    assert.equal(site.run({ state }).status, 1)
    assert.ok(!existsSync(state))
  })

  it('refuses the file of another run', () => {
    const site = filled()
    const state = join(site.folder, 'state')
    assert.equal(site.run({ state }, { event: 'fails' }).status, 3)
    const { status, stderr } = site.run({ state, deep: true })
    assert.equal(status, 3)
    assert.match(stderr, /belongs to other work than this command/)
  })

  it('and --queue are refused with what they cannot do', () => {
    const run = (...words: string[]) => {
      const [command, ...args] = [...program, 'verify', '--config', 'a', ...words]
      const { status, stderr } = spawnSync(command ?? '', args, { encoding: 'utf8' })
      return { status, stderr: stderr.trimEnd() }
    }
    const queue = ['--queue', 'postgres://clerk@db/bulk']
    const state = ['--state', 'state']
    const once = (which: string) => `A repair is done by one process: run verify --repair afterwards, without ${which}.`
    assert.deepEqual(run('--repair', 'doubles', ...queue), {
      status: 2,
      stderr: `orthanc-cloud-storage: --repair and --queue are given together. ${once('--queue')}`,
    })
    assert.deepEqual(run('--repair', 'doubles', ...state), {
      status: 2,
      stderr: `orthanc-cloud-storage: --repair and --state are given together. ${once('--state')}`,
    })
    assert.match(run('--empty-trash', ...queue).stderr, /--empty-trash and --queue are given together/)
    assert.equal(run('--empty-trash', ...queue).status, 2)
    assert.match(run(...state, ...queue).stderr, /--state and --queue are given together\. Leave --state out/)
    assert.equal(run(...state, ...queue).status, 2)
  })
})
