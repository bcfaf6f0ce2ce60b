/** What packages install, without building one: live/packages.test.ts does that. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { parse } from 'jsonc-parser'
import { COMMAND, HOME, installedFiles, PLUGINS, SAMPLE } from '../packaging/files.ts'
import { install } from '../packaging/tree.ts'
import { parseConfig } from '../src/config/config.ts'

const root = join(import.meta.dirname, '..')
const own = join(root, 'packaging', 'files')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ocs-packaging-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('the sample configuration', () => {
  const text = readFileSync(join(own, 'cloud-storage.json'), 'utf8')

  it('is an empty object as long as nobody takes away a "//"', () => {
    assert.deepEqual(parse(text), {})
  })

  it('has sections that are valid', () => {
    const sections = text.split(/\n\n/).filter(part => /^ {2}\/\/ "/m.test(part))
    assert.equal(sections.length, 4)
    for (const section of sections) {
      const lines = section.split('\n').filter(line => /^ {2}\/\/ {1,3}["}]/.test(line))
      const json = `{${lines.map(line => line.replace('//', '')).join('\n')}}`
      assert.doesNotThrow(() => parseConfig(JSON.stringify({ ...parse(json), StorageDirectory: folder })), json)
    }
  })
})

describe('install.sh', () => {
  /** The content of the archive, with small files in place of the large ones. */
  const unpacked = () => {
    const place = join(folder, 'archive')
    const small = (name: string) => {
      writeFileSync(join(folder, name), name)
      return join(folder, name)
    }
    const files = installedFiles({ root, library: small('library'), node: small('node') })
    const named = files.map(({ from, to, mode }) => ({ to, mode, from: existsSync(from) ? from : small('missing') }))
    mkdirSync(place)
    install(place, named)
    cpSync(join(own, 'install.sh'), join(place, 'install.sh'))
    return { place, files }
  }
  const run = (place: string, ...args: string[]) =>
    execFileSync('sh', [join(place, 'install.sh'), ...args], {
      encoding: 'utf8',
      env: { ...process.env, DESTDIR: join(folder, 'tree') },
    })
  const tree = () =>
    readdirSync(join(folder, 'tree'), { recursive: true, encoding: 'utf8' })
      .filter(name => statSync(join(folder, 'tree', name)).isFile())
      .map(name => `/${name}`)
      .sort()

  beforeEach(() => mkdirSync(join(folder, 'tree')))

  it('puts each file where the plugin looks for it, with its mode, and says so', () => {
    const { place, files } = unpacked()
    const said = run(place)
    assert.deepEqual(tree(), [...files.map(({ to }) => to), `${HOME}/installed.txt`].sort())
    for (const { to, mode } of files) {
      assert.equal(statSync(join(folder, 'tree', to)).mode & 0o777, mode, to)
      assert.ok(said.includes(to), to)
    }
  })

  it('replaces an older version and keeps a configuration that was changed', () => {
    const { place } = unpacked()
    run(place)
    appendFileSync(join(folder, 'tree', SAMPLE), '// mine\n')
    writeFileSync(join(folder, 'tree', HOME, 'node'), 'old')
    run(place)
    assert.match(readFileSync(join(folder, 'tree', SAMPLE), 'utf8'), /mine/)
    assert.equal(readFileSync(join(folder, 'tree', HOME, 'node'), 'utf8'), 'node')
  })

  it('removes exactly what it installed', () => {
    const { place } = unpacked()
    run(place)
    const others = join(folder, 'tree', PLUGINS, 'other.so')
    writeFileSync(others, '')
    run(place, '--uninstall')
    assert.deepEqual(tree(), [`${PLUGINS}/other.so`])
    assert.ok(!existsSync(join(folder, 'tree', HOME)) && !existsSync(join(folder, 'tree', 'etc')))
  })

  it('leaves the folders that were there', () => {
    const { place } = unpacked()
    mkdirSync(join(folder, 'tree', 'etc'))
    run(place)
    run(place) // an update does not forget which folders are its own
    run(place, '--uninstall')
    assert.deepEqual(readdirSync(join(folder, 'tree')), ['etc'])
  })

  it('removes what only the older version had', () => {
    const { place } = unpacked()
    run(place)
    rmSync(join(place, HOME, 'cli.mjs'))
    assert.match(run(place), /^remove .*cli\.mjs$[\s\S]*^Updated\. Restart Orthanc/m)
    assert.ok(!tree().includes(`${HOME}/cli.mjs`))
  })

  it('only says what it would do with --dry-run', () => {
    const { place } = unpacked()
    assert.ok(run(place, '--dry-run').includes(COMMAND))
    assert.deepEqual(tree(), [])
  })

  it('explains its options when it does not know one', () => {
    const { place } = unpacked()
    assert.throws(
      () => run(place, '--what'),
      (error: Error & { status?: number; stdout?: string }) =>
        error.status === 2 && /--uninstall/.test(error.stdout ?? ''),
    )
  })
})

describe('the completion for bash', () => {
  it('offers the commands, and the options of one', () => {
    const complete = (...words: string[]) =>
      execFileSync(
        'bash',
        [
          '-c',
          `orthanc-cloud-storage() { "${process.execPath}" "${join(root, 'src', 'cli', 'main.ts')}" "$@"; }
           source "${join(own, 'completion.bash')}"
           COMP_WORDS=(${words.map(word => `'${word}'`).join(' ')}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
           _orthanc_cloud_storage; printf '%s\\n' "\${COMPREPLY[@]}"`,
        ],
        { encoding: 'utf8' },
      )
        .trim()
        .split('\n')
    assert.deepEqual(complete('orthanc-cloud-storage', 'ro'), ['rotate-keys'])
    assert.ok(complete('orthanc-cloud-storage', 'check', '--j').includes('--json'))
  })
})
