/** Orthanc's index, read from its database and through its REST API, beside what Orthanc says of each attachment. */
import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Client } from 'pg'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { indexIn, POSTGRESQL_INDEX, type PostgreSql, startPostgresql } from '../../harness/postgresql.ts'
import type { DebianRelease } from '../../harness/trees.ts'
import { until } from '../../harness/until.ts'
import { parsePostgresql } from '../../src/config/postgresql.ts'
import { HttpOrthanc } from '../../src/orthanc-index/http-orthanc.ts'
import type { Indexed, OrthancIndex } from '../../src/orthanc-index/orthanc-index.ts'
import { PostgresqlIndex } from '../../src/orthanc-index/postgresql.ts'
import { restIndex } from '../../src/orthanc-index/rest.ts'
import { makeCertificate } from '../support/fake-internet.ts'
import { liveOrthanc, livePostgresql } from './support/servers.ts'

const never = new AbortController().signal

const types: Readonly<Record<number, Indexed['type']>> = { 1: 'dicom', 2: 'dicom-as-json', 3: 'dicom-until-pixel-data' }
const sorted = (all: Iterable<Indexed>) => [...all].toSorted((a, b) => a.uuid.localeCompare(b.uuid))

/** What Orthanc says of each attachment, one by one. */
async function said(orthanc: OrthancProcess): Promise<Indexed[]> {
  const all: Indexed[] = []
  for (const level of ['patients', 'studies', 'series', 'instances'])
    for (const id of await orthanc.getJson(`/${level}`))
      for (const name of await orthanc.getJson(`/${level}/${id}/attachments`)) {
        const info = await orthanc.getJson(`/${level}/${id}/attachments/${encodeURIComponent(name)}/info`)
        const { Uuid: uuid, ContentType, CompressedSize: size, CompressedMD5: md5 } = info
        all.push({ uuid, type: types[ContentType] ?? 'unknown', size, md5: md5 || undefined })
      }
  return sorted(all)
}

async function everything(index: OrthancIndex): Promise<Indexed[]> {
  const all: Indexed[] = []
  for await (const batch of index.all(never)) all.push(...batch)
  return sorted(all)
}

const restOf = (orthanc: OrthancProcess) => {
  const ways = { caFile: undefined, proxy: undefined, noProxy: [], warn: assert.fail }
  const asked = new HttpOrthanc({ url: orthanc.url, user: undefined, ...ways })
  return restIndex(asked, asked.name, () => asked.close())
}

const servers = livePostgresql()
let postgresql: PostgreSql
before(async () => {
  if (servers) postgresql = await startPostgresql()
})
after(() => postgresql?.stop())

interface Case {
  readonly name: string
  readonly release?: DebianRelease
  readonly database?: string
  readonly more?: object
}

const cases: readonly Case[] = [
  { name: 'SQLite, the Orthanc of this machine' },
  { name: 'SQLite, Orthanc of forky with a limit', release: 'forky', more: { LimitFindInstances: 1 } },
  { name: 'PostgreSQL, Orthanc of forky', release: 'forky', database: 'forky' },
  { name: 'PostgreSQL, Orthanc of trixie', release: 'trixie', database: 'trixie' },
]

for (const { name, release, database, more: own = {} } of cases) {
  const missing = (database !== undefined && !servers) || (release !== undefined && !(await liveOrthanc(release)))
  describe(`the index in ${name}`, { skip: missing, concurrency: 1 }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-index-'))
    let orthanc: OrthancProcess
    const section = () => (database === undefined ? {} : { PostgreSQL: indexIn(postgresql, database) })
    const start = async (more: object) => {
      const plugins = { ...section(), Plugins: database === undefined ? [] : [POSTGRESQL_INDEX] }
      const config = { UserContentType: { 'a note, with + and %': 1100 }, ...plugins, ...own, ...more }
      orthanc = await startOrthanc({ dir: folder, plugin: null, config, ...(release && { release }) })
    }
    const indexes = (): OrthancIndex[] => {
      const direct = parsePostgresql(JSON.stringify(section()))
      return [restOf(orthanc), ...(direct ? [new PostgresqlIndex(direct)] : [])]
    }
    /** Each index in turn. */
    const withEach = async (work: (index: OrthancIndex) => Promise<void>) => {
      for (const index of indexes())
        try {
          await work(index)
        } finally {
          await index.close()
        }
    }
    const store = async (seed: number) => {
      const place = { study: seed % 2, series: seed % 4 }
      return await orthanc.postJson('/instances', makeImage({ seed, rows: 64, columns: 64, ...place }))
    }

    before(async () => {
      if (database !== undefined) await postgresql.makeDatabase(database)
      await start({})
      for (let seed = 0; seed < 6; seed++) await store(seed)
      await orthanc.stop()
      await start({ StorageCompression: true, StoreMD5ForAttachments: false })
      for (let seed = 6; seed < 12; seed++) await store(seed)
      for (const level of ['patients', 'studies', 'series', 'instances'])
        for (const [i, id] of (await orthanc.getJson(`/${level}`)).entries())
          if (i < 2) await orthanc.put(`/${level}/${id}/attachments/1100`, Buffer.from(`made up ${level} ${i}`))
    })
    after(async () => {
      await orthanc?.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    it('has what Orthanc says of each attachment, on all levels, compressed or not, with an MD5 or not', async () => {
      const expected = await said(orthanc)
      assert.ok(expected.length >= 12 + 4, `${expected.length}`)
      assert.deepEqual(new Set(expected.map(({ md5 }) => typeof md5)), new Set(['string', 'undefined']))
      assert.ok(expected.some(({ type }) => type === 'unknown'))
      await withEach(async index => assert.deepEqual(await everything(index), expected, index.name))
    })

    it('finds those that it is asked for, and no others', async () => {
      const [one, two] = await said(orthanc)
      assert.ok(one && two)
      const wanted = new Set([one.uuid, two.uuid, '00000000-0000-4000-8000-000000000000'])
      await withEach(async index => {
        const found = await index.find(wanted, never)
        assert.deepEqual(sorted(found.values()), [one, two], index.name)
        assert.deepEqual(await index.find(new Set(), never), new Map())
      })
    })

    it('has everything that was there all along, while other things are stored and removed', async () => {
      const before = await said(orthanc)
      const [study] = await orthanc.getJson('/studies')
      const reads: { readonly name: string; readonly found: ReadonlySet<string> }[] = []
      let seed = 100
      await withEach(async index => {
        let reading = true
        const change = async () => {
          while (reading) {
            const { ID } = await store(seed++)
            await orthanc.delete(`/instances/${ID}`)
            if (seed === 103) await orthanc.delete(`/studies/${study}`)
          }
        }
        const changing = change()
        for (const enough = seed + 6; seed < enough; )
          reads.push({ name: index.name, found: new Set((await everything(index)).map(({ uuid }) => uuid)) })
        reading = false
        await changing
      })
      const left = new Set((await said(orthanc)).map(({ uuid }) => uuid))
      const staying = before.filter(({ uuid }) => left.has(uuid)).map(({ uuid }) => uuid)
      assert.ok(staying.length > 2 && staying.length < before.length)
      for (const { name, found } of reads)
        assert.deepEqual(
          staying.filter(uuid => !found.has(uuid)),
          [],
          name,
        )
    })
  })
}

describe('the tables of Orthanc in PostgreSQL', { skip: !servers }, () => {
  const sql = async (database: string, ...questions: readonly string[]) => {
    const client = new Client({ host: '127.0.0.1', port: postgresql.port, user: postgresql.user, database })
    await client.connect()
    try {
      const answers = []
      for (const question of questions) answers.push(...(await client.query(question)).rows)
      return answers
    } finally {
      await client.end()
    }
  }
  const read = async (section: object, env: NodeJS.ProcessEnv = {}) => {
    const common = { ...indexIn(postgresql, 'made'), ...section }
    const config = parsePostgresql(JSON.stringify({ PostgreSQL: common })) ?? assert.fail()
    return await everything(new PostgresqlIndex(config, env))
  }
  const uuid = '94c86382-89d2-47d3-80d9-6037fae57a8e'

  before(async () => {
    await postgresql.makeDatabase('made')
    const columns = 'id bigint, fileType integer, uuid varchar(64), compressedSize bigint, compressedHash varchar(40)'
    await sql(
      'made',
      'CREATE TABLE GlobalProperties(property integer, value text)',
      `CREATE TABLE AttachedFiles(${columns})`,
      "INSERT INTO GlobalProperties VALUES (1, '6')",
      `INSERT INTO AttachedFiles VALUES (1, 1, '${uuid}', 5, '')`,
      "CREATE ROLE reader LOGIN PASSWORD 'pass word:1'",
    )
    const [{ hba_file: file }] = await sql('made', 'SHOW hba_file')
    const trusted = readFileSync(file, 'utf8')
    writeFileSync(file, `host all reader all scram-sha-256\nhostnossl all private all reject\n${trusted}`)
    await sql('made', 'CREATE ROLE private LOGIN SUPERUSER', 'SELECT pg_reload_conf()')
    await until('the new rules', () => read({ Username: 'private' }).catch(error => error.code === 'Denied'))
  })

  const expected = [{ uuid, type: 'dicom', size: 5, md5: undefined }]

  it('are read by a user who may do nothing else, with a password from wherever it may be', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-pgpass-'))
    const file = join(folder, 'pgpass')
    writeFileSync(file, '*:*:made:reader:pass word\\:1\n', { mode: 0o600 })
    const inEnvironment = process.env['PGPASSFILE']
    try {
      await assert.rejects(read({ Username: 'reader', Password: 'pass word:1' }), { code: 'Denied' })
      await sql('made', 'GRANT SELECT ON AttachedFiles, GlobalProperties TO reader')
      assert.deepEqual(await read({ Username: 'reader', Password: 'pass word:1' }), expected)
      assert.deepEqual(await read({ Username: 'reader' }, { PGPASSWORD: 'pass word:1' }), expected)
      process.env['PGPASSFILE'] = file // libpq's own variable, which the library reads
      assert.deepEqual(await read({ Username: 'reader' }), expected)
      const uri = `postgresql://reader:pass%20word%3A1@127.0.0.1:${postgresql.port}/made`
      assert.deepEqual(await read({ ConnectionUri: uri, Host: 'elsewhere' }), expected)
      process.env['PGPASSFILE'] = join(folder, 'nowhere')
      for (const Password of ['', 'wrong'])
        await assert.rejects(read({ Username: 'reader', Password }), { code: 'Denied', message: /password/ })
    } finally {
      if (inEnvironment === undefined) delete process.env['PGPASSFILE']
      else process.env['PGPASSFILE'] = inEnvironment
      rmSync(folder, { recursive: true })
    }
  })

  it('are read encrypted where the configuration says so, or the server wants it', async () => {
    const uri = `postgresql://private@127.0.0.1:${postgresql.port}/made`
    for (const section of [{ EnableSsl: true }, { ConnectionUri: `${uri}?sslmode=require` }])
      await assert.rejects(read(section), { code: 'BadConfig', message: /does not support SSL/ })
    // That the server has no TLS is not the reason: without it, nobody may come in.
    await assert.rejects(read({ ConnectionUri: uri }), { code: 'Denied', message: /pg_hba\.conf.*no encryption/ })
    assert.deepEqual(await read({ ConnectionUri: uri.replace('private', postgresql.user) }), expected)

    const [{ data_directory: folder }] = await sql('made', 'SHOW data_directory')
    const { uid, gid } = statSync(folder)
    const { key, cert } = makeCertificate(folder, ['localhost'])
    chownSync(key, uid, gid)
    chmodSync(key, 0o600)
    const files = [`ssl_key_file = '${key}'`, `ssl_cert_file = '${cert}'`, 'ssl = on']
    await sql('made', ...files.map(setting => `ALTER SYSTEM SET ${setting}`), 'SELECT pg_reload_conf()')
    await until('TLS', () => read({ Username: 'private', EnableSsl: true }).catch(() => false))

    for (const query of ['', '?sslmode=prefer', '?sslmode=allow', '?sslmode=require'])
      assert.deepEqual(await read({ ConnectionUri: `${uri}${query}` }), expected, query)
    for (const section of [{ Username: 'private' }, { ConnectionUri: `${uri}?sslmode=disable` }])
      await assert.rejects(read(section), { code: 'Denied', message: /pg_hba\.conf/ })
    const verified = `${uri}?sslmode=verify-full`
    assert.deepEqual(await read({ ConnectionUri: `${verified}&sslrootcert=${cert}` }), expected)
    await assert.rejects(read({ ConnectionUri: verified }), { code: 'Denied', message: /self-signed/ })
  })

  it('are not those of another program, and of no version that is not known', async () => {
    const other = /"public\.globalproperties" does not exist/
    await assert.rejects(read({ Database: 'postgres' }), { code: 'BadConfig', message: other })
    await assert.rejects(read({ Schema: 'of"others' }), { code: 'BadConfig', message: /of"others/ })
    await assert.rejects(read({ Database: 'elsewhere' }), { code: 'BadConfig', message: /"elsewhere" does not exist/ })
    await sql('made', "UPDATE GlobalProperties SET value = '7'")
    try {
      await assert.rejects(read({}), { code: 'BadConfig', message: /has version 7 of Orthanc's tables/ })
    } finally {
      await sql('made', "UPDATE GlobalProperties SET value = '6'")
    }
  })

  it('reject as a whole when one row is not what Orthanc writes', async () => {
    for (const wrong of ["uuid = '../1'", "compressedHash = 'x'", 'compressedSize = -1', 'compressedSize = NULL']) {
      await sql('made', `INSERT INTO AttachedFiles SELECT 2, 1, '${uuid}', 5, ''`)
      await sql('made', `UPDATE AttachedFiles SET ${wrong} WHERE id = 2`)
      await assert.rejects(read({}), { code: 'Corrupt' })
      await sql('made', 'DELETE FROM AttachedFiles WHERE id = 2')
    }
  })

  it('reject when the connection ends in the middle, and the reader may stop at any moment', async () => {
    const many = `SELECT 3, 3, md5(i::text)::uuid::text, i, '' FROM generate_series(1, 5000) AS i`
    await sql('made', `INSERT INTO AttachedFiles ${many}`)
    const config = parsePostgresql(JSON.stringify({ PostgreSQL: indexIn(postgresql, 'made') })) ?? assert.fail()
    const index = new PostgresqlIndex(config)
    const others = "SELECT * FROM pg_stat_activity WHERE application_name = 'orthanc-cloud-storage'"
    assert.equal((await everything(index)).length, 5001)
    let seen = 0
    await assert.rejects(
      async () => {
        for await (const batch of index.all(never)) {
          seen += batch.length
          await sql('made', others.replace('*', 'pg_terminate_backend(pid)'))
        }
      },
      { code: 'Unavailable' },
    )
    assert.ok(seen > 0 && seen < 5001)
    for await (const _ of index.all(never)) break
    const abort = new AbortController()
    await assert.rejects(
      async () => {
        for await (const _ of index.all(abort.signal)) abort.abort()
      },
      { code: 'Canceled' },
    )
    await until('no connection to be left', async () => (await sql('made', others)).length === 0)
  })
})
