/** `copy` as people run it, between folders: what it prints, what it refuses, how it ends, and how it goes on. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { after, describe, it } from 'node:test'
import { until } from '../harness/until.ts'
import { rateLimit } from '../src/cli/arguments.ts'
import { noise } from './support/noise.ts'
import { program } from './support/program.ts'

const root = mkdtempSync(join(tmpdir(), 'ocs-copy-'))
after(() => rmSync(root, { recursive: true, force: true }))
const keyFile = join(root, '1.key')
writeFileSync(keyFile, `${Buffer.alloc(32, 1).toString('base64')}\n`, { mode: 0o600 })
const sealed = { StorageEncryption: { MasterKey: [1, keyFile] } }

class Folder {
  readonly path: string
  readonly config = join(root, `${randomUUID()}.json`)

  constructor(more: object = {}, path = join(root, randomUUID())) {
    this.path = path
    writeFileSync(this.config, JSON.stringify({ DirectoryStorage: { Path: path, ...more } }))
  }

  get files(): readonly string[] {
    if (!existsSync(this.path)) return []
    const all = readdirSync(this.path, { recursive: true, withFileTypes: true }).filter(one => one.isFile())
    return all
      .map(({ name }) => name)
      .filter(name => !name.startsWith('.'))
      .sort()
  }

  write(count: number, uuid: () => string = randomUUID): this {
    mkdirSync(this.path, { recursive: true })
    for (let i = 0; i < count; i++) writeFileSync(join(this.path, `${uuid()}.dcm`), noise(300 + i, i + 1))
    return this
  }
}

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** Of `--json -`. */
  readonly lines: readonly Record<string, unknown>[]
}

function start(...args: readonly string[]): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const [node = '', ...script] = program
  const child = spawn(node, [...script, 'copy', ...args], { env: { ...process.env, TMPDIR: root } })
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', text => (said.stdout += text))
  child.stderr.on('data', text => (said.stderr += text))
  const ended = new Promise<Ended>(resolve =>
    child.once('close', code => {
      const json = said.stdout.startsWith('{') ? said.stdout.trimEnd().split('\n') : []
      resolve({ code, ...said, lines: json.map(line => JSON.parse(line)) })
    }),
  )
  return { child, ended }
}

const run = (from: Folder, to: Folder, ...more: readonly string[]) =>
  start('--from', from.config, '--to', to.config, ...more).ended

describe('copy, on the command line', { concurrency: 2 }, () => {
  it('copies, says on what equality rests, and ends with 0; again it copies the difference', async () => {
    const [from, to] = [new Folder().write(12), new Folder({ StorageStructure: 'legacy', RootPath: 'a/b', ...sealed })]
    writeFileSync(join(from.path, 'ab.txt'), 'mine')
    const first = await run(from, to)
    assert.equal(first.stderr, '')
    assert.deepEqual(
      first.stdout.split('\n').filter(line => !/^(source|target|took)/.test(line)),
      [
        'copied: 12 (4.7 KB)',
        'equal: 12 (12 by the checksum of their write and their size)',
        'missing at the target: 0',
        'extra at the target: 0',
        "left alone: 1 object with a key that no file of Orthanc's has",
        'Both sides have the same files.',
        '',
      ],
    )
    assert.equal(first.code, 0)
    from.write(3)
    const dry = await run(from, to, '--dry-run')
    assert.match(dry.stdout, /to be copied: 3 .*\nequal: 12 .*\n.*\n.*\nNothing was changed\./)
    assert.deepEqual([dry.code, to.files.length], [0, 12])
    const second = await run(from, to, '--json', '-', '--deep')
    assert.deepEqual(second.lines.at(-1)?.['copied'], { objects: 3, bytes: 903 + 3 * 86 })
    assert.deepEqual(second.lines.at(-1)?.['equal'], { bytes: 15, md5: 0, written: 0, size: 0 })
    assert.equal(second.code, 0)
    const back = new Folder({ StorageStructure: 'legacy' })
    assert.equal((await run(to, back, '--decrypt')).code, 0)
    assert.deepEqual(
      back.files,
      from.files.filter(name => name.endsWith('.dcm')).map(name => name.slice(0, -4)),
    )
  })

  it('refuses what would do harm, before anything is copied', async () => {
    const [from, to] = [new Folder().write(2), new Folder()]
    const link = join(root, randomUUID())
    symlinkSync(from.path, link)
    const disk = join(root, `${randomUUID()}.json`)
    writeFileSync(disk, JSON.stringify({ StorageDirectory: from.path }))
    const secret = new Folder(sealed).write(0)
    const legacy = new Folder({ StorageStructure: 'legacy' }).write(0)
    const one = join(root, randomUUID())
    const readOnly = join(root, `${randomUUID()}.json`)
    writeFileSync(readOnly, JSON.stringify({ ReadOnly: true, DirectoryStorage: { Path: to.path } }))
    for (const [args, why, exit = 3] of [
      [[from.config, from.config], /are one place/],
      [[from.config, new Folder({}, link).config], /are one place/],
      [[from.config, new Folder({ RootPath: from.path.slice(root.length + 1) }, root).config], /are one place/],
      [[from.config, disk], /are one place/],
      [[secret.config, to.config], /is encrypted.*--decrypt/],
      [[legacy.config, to.config], /do not say the types.*--orthanc http.*"legacy"/],
      [[from.config, to.config, '--yes'], /belong to --delete-extra/, 2],
      [[from.config, to.config, '--delete-extra', '--dry-run', '--yes'], /exclude each other/, 2],
      [[from.config, to.config, '--delete-extra', '--queue', 'postgres://db'], /Copy first/, 2],
      [[new Folder().config, to.config], /is not there/],
      [[from.config, readOnly], /the configuration is ReadOnly/],
      [[from.config, to.config, '--json', secret.config], /exists, is no report, and is left as it is/],
      [[from.config, to.config, '--json', one, '--state', `./${relative('.', one)}`], /name one file/],
    ] as const) {
      const [source, target, ...more] = args
      const { code, stderr, stdout } = await start('--from', source, '--to', target, ...more).ended
      assert.match(stderr, why)
      assert.deepEqual([code, stdout], [exit, ''])
    }
    assert.deepEqual(to.files, [])
    const empty = await run(new Folder().write(0), to)
    assert.match(empty.stdout, /The source has no file of Orthanc/)
    assert.equal(empty.code, 1)
  })

  it('copies between folders of which one is in the other', async () => {
    const from = new Folder().write(10)
    const inner = new Folder({ StorageStructure: 'legacy' }, join(from.path, 'ab'))
    mkdirSync(dirname(inner.path), { recursive: true })
    assert.equal((await run(from, new Folder({ RootPath: 'ab' }, from.path))).code, 0)
    const again = await run(from, new Folder({ RootPath: 'ab' }, from.path), '--json', '-')
    assert.deepEqual(again.lines.at(-1)?.['copied'], { objects: 0, bytes: 0 })
    assert.equal(from.files.length, 20)
  })

  it('goes on after a SIGKILL, and one state file is for one run at a time', async () => {
    const [from, to] = [new Folder().write(120), new Folder()]
    const state = join(root, randomUUID())
    const { child, ended } = start('--from', from.config, '--to', to.config, '--state', state, '--rate-limit', '30/s')
    await until('some are copied', () => to.files.length >= 10)
    const other = await run(from, to, '--state', state)
    assert.match(other.stderr, /in use by another run/)
    assert.equal(other.code, 3)
    child.kill('SIGKILL')
    await ended
    const there = to.files.length
    assert.ok(there < 120, `${there}`)
    const second = await run(from, to, '--state', state, '--json', '-')
    assert.equal(second.stderr, '')
    assert.equal(second.code, 0)
    assert.deepEqual(to.files, from.files)
    const [summary = {}] = second.lines.slice(-1) as [Record<string, Record<string, number>>]
    assert.deepEqual([summary['source']?.['objects'], summary['missing']], [120, 0])
    assert.ok(!existsSync(state))
  })

  it('may run twice at once, and ends cleanly with Ctrl-C', async () => {
    const [from, to] = [new Folder().write(60), new Folder(sealed)]
    for (const { code } of await Promise.all([run(from, to), run(from, to)])) assert.equal(code, 0)
    assert.equal(to.files.length, 60)
    const third = new Folder()
    const { child, ended } = start('--from', from.config, '--to', third.config, '--rate-limit', '20/s')
    await until('some are copied', () => third.files.length >= 3)
    child.kill('SIGINT')
    const { code, stderr, stdout } = await ended
    assert.equal(code, 3)
    assert.match(stdout, /This report is partial[\s\S]*The sides are not proven to be equal/)
    assert.match(stderr, /interrupted by SIGINT/)
    assert.ok(third.files.every(name => name.endsWith('.dcm')))
  })

  it('removes what is too much at the target only when it is told to, and within bounds', async () => {
    const [from, to] = [new Folder().write(40), new Folder()]
    await run(from, to)
    to.write(2)
    const twoDaysAgo = new Date(Date.now() - 2 * 86_400_000)
    for (const name of to.files) utimesSync(join(to.path, name), twoDaysAgo, twoDaysAgo)
    const plain = await run(from, to)
    assert.match(plain.stdout, /^extra at the target: [\s\S]*and 2 objects more: see --delete-extra/)
    assert.equal(plain.code, 1)
    const dry = await run(from, to, '--delete-extra')
    assert.match(dry.stdout, /to be removed with --yes: 2 objects\n$/)
    assert.deepEqual([dry.code, to.files.length], [1, 42])
    to.write(8)
    const many = await run(from, to, '--delete-extra', '--yes')
    assert.match(many.stderr, /8 of the 10 extra objects were written within the last day.*--expect 10/)
    assert.deepEqual([many.code, to.files.length], [3, 50])
    const wrong = await run(from, to, '--delete-extra', '--yes', '--expect', '9')
    assert.deepEqual([wrong.code, to.files.length], [3, 50])
    const right = await run(from, to, '--delete-extra', '--yes', '--expect', '10', '--json', '-')
    assert.deepEqual(right.lines.at(-1), { kind: 'removed', removed: 10, kept: 0, failures: 0 })
    assert.equal(right.code, 0)
    assert.deepEqual(to.files, from.files)
  })

  it('says what it has removed after Ctrl-C, and what it has copied when the file of --json cannot be written', async () => {
    const [from, to] = [new Folder().write(20), new Folder()]
    const full = await run(from, to, '--json', '/dev/full')
    assert.equal(full.code, 3)
    assert.match(full.stdout, /^copied: 20 /m)
    assert.match(full.stderr, /cannot write \/dev\/full: the disk is full/)
    to.write(60)
    const args = ['--delete-extra', '--yes', '--expect', '60', '--rate-limit', '20/s', '--json', '-'] as const
    const { child, ended } = start('--from', from.config, '--to', to.config, ...args)
    await until('some are removed', () => to.files.length < 75)
    child.kill('SIGINT')
    const { code, lines } = await ended
    assert.equal(code, 3)
    const { complete, removed } = lines.at(-1) ?? {}
    assert.equal(complete, false)
    const gone = 80 - to.files.length
    assert.ok(Number(removed) <= gone && Number(removed) >= gone - 8, `${removed} of ${gone}`) // 8 were under way
  })

  it('understands rates', () => {
    assert.deepEqual(rateLimit('200/s'), { objects: 200 })
    assert.deepEqual(rateLimit('1.5MB/s', rateLimit('2/s')), { objects: 2, bytes: 1_500_000 })
    for (const text of ['0/s', 'fast', '10', '5XB/s', '-1/s', '/s', '1e9/s']) assert.throws(() => rateLimit(text))
  })

  it('tells secrets in no state file and no report', async () => {
    const [from, to] = [new Folder(sealed).write(0), new Folder({ StorageEncryption: { MasterKey: [2, keyFile] } })]
    writeFileSync(join(from.path, `${randomUUID()}.dcm.enc`), 'damaged')
    const state = join(root, randomUUID())
    const { code, stdout, stderr } = await run(from, to, '--state', state)
    assert.equal(code, 1)
    assert.match(stderr, /cannot read '.*\.dcm\.enc' on directory:.*has 7 bytes, fewer than the 86/)
    const text = `${stdout}${stderr}${readFileSync(state, 'latin1')}`
    assert.ok(!text.includes(readFileSync(keyFile, 'utf8').trim()))
  })
})
