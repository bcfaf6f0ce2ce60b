/** What a queue needs no database for. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { queueSettings, queueUrl } from '../src/cli/queue-option.ts'
import { Fault } from '../src/fault.ts'
import { settingsOfUri } from '../src/orthanc-index/postgresql-session.ts'
import { queueFault } from '../src/queue/faults.ts'
import { hashOf } from '../src/queue/runs.ts'
import { Spool } from '../src/queue/spool.ts'
import { program } from './support/program.ts'

const folder = mkdtempSync(join(tmpdir(), 'queue-'))
after(() => rmSync(folder, { recursive: true }))

const SECRET = 'S3cr3tM4rk3r'
const withPassword = [
  `postgres://clerk:${SECRET}@db/q`,
  `postgresql://clerk:${SECRET}@db:5432/q?sslmode=require`,
  `POSTGRES://clerk:${SECRET}@db/q`,
  `postgres://clerk:${SECRET}/x@db/q`,
  `postgres://clerk:${SECRET}@more@db/q`,
  `postgres://:${SECRET}@db/q`,
  `postgres://clerk:${SECRET}'x@db/q`,
  `postgres://clerk@db/q?password=${SECRET}`,
  `postgres://clerk@db/q?sslmode=require&PassWord=${SECRET}`,
  `postgres://clerk@db/q?%70assword=${SECRET}`,
  `postgres://clerk@db/q?sslpassword=${SECRET}`,
]
const withoutPassword = [
  'index',
  'postgres://db/q',
  'postgres://clerk@db/q',
  'postgres://clerk:@db/q',
  'postgresql://clerk@db:5433/q?sslmode=verify-full&sslrootcert=/etc/ca.pem',
  'postgres://clerk@[::1]:5432/q',
  'postgres:///q?host=/var/run/postgresql',
]

describe('--queue', () => {
  it('takes no password, and never shows one', () => {
    for (const url of withPassword) assert.throws(() => queueUrl(url), { code: 'commander.invalidArgument' }, url)
    for (const url of withoutPassword) assert.equal(queueUrl(url), url)
    for (const url of ['mysql://db/q', 'db', '', `clerk:${SECRET}@db`]) assert.throws(() => queueUrl(url), url)
  })

  it('is refused on the command line in one line that says what to do', () => {
    for (const url of [withPassword[0] ?? '', withPassword[6] ?? '', `clerk:${SECRET}@db`]) {
      const [node = '', ...words] = program
      const { status, stdout, stderr } = spawnSync(node, [...words, 'runs', '--queue', url], { encoding: 'utf8' })
      assert.equal(status, 2)
      assert.ok(!`${stdout}${stderr}`.includes(SECRET), stderr)
      assert.match(stderr, /^orthanc-cloud-storage: option '--queue <URL>' is invalid\. It [^\n]*\n$/)
    }
  })

  it('names the database as libpq does, with the password of the environment', async () => {
    const { ways, name } = settingsOfUri('postgres://clerk@db:5433/q', '--queue', { PGPASSWORD: SECRET })
    assert.equal(name, 'PostgreSQL database q on db:5433')
    assert.deepEqual(
      ways.map(({ user, password }) => [user, password]),
      [
        ['clerk', SECRET],
        ['clerk', SECRET],
      ],
    )
    assert.throws(() => settingsOfUri('postgres://clerk@a,b/q', '--queue', {}), {
      code: 'BadConfig',
      message: '--queue cannot be used: it names several servers',
    })
    assert.throws(() => queueSettings('index', undefined), { code: 'BadRequest' })
  })

  it('has faults that tell what to do about its own database', () => {
    const said = (code: string) => queueFault(Object.assign(new Error('no'), { code }), 'PostgreSQL database q on db')
    assert.match(said('28P01').describe(), /^PostgreSQL database q on db: no \[Denied\]. .*PGPASSFILE/)
    assert.match(said('42501').describe(), /GRANT CREATE ON DATABASE/)
    assert.match(said('ECONNREFUSED').describe(), /\[Unavailable\]. Check the host and port of --queue/)
    for (const code of ['40P01', '40001', '55P03', '57P01', '57P03', '08006', 'ECONNRESET'])
      assert.ok(said(code).retryable, code)
    for (const code of ['28P01', '42501', '3D000', '42P01', '53100', 'XX000']) assert.ok(!said(code).retryable, code)
    assert.equal(said('53100').code, 'TooLarge')
    for (const code of ['28P01', '3D000', '42P01', 'ECONNREFUSED'])
      assert.doesNotMatch(said(code).describe(), /section PostgreSQL/)
  })
})

describe('the same command', () => {
  it('is its name and its identity, in whatever order', () => {
    const hash = hashOf({ name: 'copy', identity: { from: 'a', to: { b: 1, c: [1, 2] } } })
    assert.equal(hashOf({ name: 'copy', identity: { to: { c: [1, 2], b: 1 }, from: 'a' } }), hash)
    for (const identity of [{ from: 'a', to: { b: 1, c: [2, 1] } }, { from: 'a', to: { b: '1', c: [1, 2] } }, {}])
      assert.notEqual(hashOf({ name: 'copy', identity }), hash)
    assert.notEqual(hashOf({ name: 'usage', identity: { from: 'a', to: { b: 1, c: [1, 2] } } }), hash)
  })
})

describe('the lines of a shard', () => {
  it('are on disk, not in memory, and come back in parts, whatever is in them', async () => {
    const path = join(folder, 'lines')
    const spool = new Spool(path)
    const odd = ['"\u2028\u2029"', '"\\r\\n"', '"\u0085é\u{1f600}"', `"${'x'.repeat(200_000)}"`]
    const lines = Array.from({ length: 20_000 }, (_, i) => odd[i] ?? `{"line":${i}}`)
    const ends = lines.map(line => {
      spool.append(line)
      return spool.end
    })
    const all: string[] = []
    let batches = 0
    for (const [start, end] of [
      [0, ends[9_999]],
      [ends[9_999], ends[9_999]],
      [ends[9_999], spool.end],
    ])
      for await (const batch of spool.between(start ?? 0, end ?? 0)) {
        batches++
        assert.ok(batch.length <= 1000)
        all.push(...batch)
      }
    assert.equal(all.length, lines.length)
    assert.ok(all.every((line, i) => line === lines[i]))
    assert.ok(batches >= 20)
    spool.remove()
    assert.ok(!existsSync(path))
  })

  it('that cannot be written are a fault with a remedy', () => {
    const spool = new Spool(join(folder, 'absent', 'lines'))
    assert.throws(
      () => {
        for (let i = 0; i < 2; i++) spool.append('x'.repeat(70_000))
      },
      (error: unknown) => error instanceof Fault && /TMPDIR/.test(error.remedy),
    )
  })
})
