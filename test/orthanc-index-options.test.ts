/** Where Orthanc's index is: what its configuration, the environment and the command line say. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'

import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { readPostgresql } from '../src/cli/orthanc-config.ts'
import { openIndex } from '../src/cli/orthanc-index.ts'
import { parsePostgresql } from '../src/config/postgresql.ts'
import type { Fault } from '../src/fault.ts'
import { settingsOf } from '../src/orthanc-index/postgresql-session.ts'

const folder = mkdtempSync(join(tmpdir(), 'ocs-index-options-'))
after(() => rmSync(folder, { recursive: true }))

const fileOf = (text: string) => {
  const file = join(folder, 'orthanc.json')
  writeFileSync(file, text)
  return file
}
const parse = (section: unknown) => parsePostgresql(JSON.stringify({ PostgreSQL: section }))
const settings = (section: object, env = {}) =>
  settingsOf(parse({ EnableIndex: true, ...section }) ?? assert.fail(), env)

describe('the section PostgreSQL', () => {
  it('has the defaults of Orthanc', () => {
    assert.deepEqual(parse({ EnableIndex: true }), {
      uri: undefined,
      host: 'localhost',
      port: 5432,
      database: undefined,
      user: undefined,
      password: undefined,
      tls: false,
      schema: 'public',
    })
  })

  it('says nothing where the index is not in it, whatever else it has', () => {
    for (const section of [undefined, null, {}, { EnableIndex: false, Port: 'x' }, { EnableIndex: 'False' }])
      assert.equal(parse(section), undefined)
  })

  it('is read from files with comments and variables, and takes what environment variables make of values', () => {
    process.env['OCS_TEST_PASSWORD'] = '007'
    const file = fileOf(`{
      // the index
      "PostgreSQL": { "EnableIndex": "true", "Host": "db", "Port": "5433", "Password": "\${OCS_TEST_PASSWORD}", "Lock": true, },
    }`)
    try {
      const { host, port, password } = readPostgresql([file]) ?? assert.fail()
      assert.deepEqual({ host, port, password }, { host: 'db', port: 5433, password: '007' })
    } finally {
      delete process.env['OCS_TEST_PASSWORD']
    }
  })

  for (const [section, words] of [
    [[], /^PostgreSQL is \[\], but must be an object/],
    ['x', /^PostgreSQL is a string, but must be an object/],
    [{ EnableIndex: 'yes' }, /^PostgreSQL\.EnableIndex is "yes", but must be true or false/],
    [{ EnableIndex: true, Port: 0 }, /^PostgreSQL\.Port is 0, but must be a port from 1 to 65535/],
    [{ EnableIndex: true, Port: '5432a' }, /^PostgreSQL\.Port is "5432a", but must be a port/],
    [{ EnableIndex: true, Host: ['a'] }, /^PostgreSQL\.Host is an array, but must be a string/],
    [{ EnableIndex: true, EnableSsl: 2 }, /^PostgreSQL\.EnableSsl is 2, but must be true or false/],
    [{ EnableIndex: true, Password: { a: 'S3cr3t' } }, /^PostgreSQL\.Password is a secret that is not shown/],
    [{ EnableIndex: true, ConnectionUri: 'host=S3cr3t' }, /^PostgreSQL\.ConnectionUri is a secret.*must be a URI/],
  ] as const)
    it(`is refused by its path: ${JSON.stringify(section)}`, () => {
      assert.throws(
        () => parse(section),
        (error: Fault) => error.code === 'BadConfig' && words.test(error.message) && !/S3cr3t/.test(error.message),
      )
    })
})

describe('the way to PostgreSQL', () => {
  it('has a name without a secret', () => {
    for (const [section, name] of [
      [{ Host: 'db', Database: 'o', Password: 'p' }, 'PostgreSQL database o on db:5432'],
      [{ Host: '::1', Port: 1, Database: 'o' }, 'PostgreSQL database o on [::1]:1'],
      [{ Host: '/run/postgresql', Username: 'u' }, 'PostgreSQL database u in /run/postgresql'],
      [{ ConnectionUri: 'postgresql://u:p%40@db/o%20x' }, 'PostgreSQL database o x on db:5432'],
      [{ ConnectionUri: 'postgres://u:p@db:5/', Host: 'h' }, 'PostgreSQL database u on db:5'],
      [{ ConnectionUri: 'postgresql:///o?host=/run/postgresql' }, 'PostgreSQL database o in /run/postgresql'],
    ] as const)
      assert.equal(settings(section).name, name)
  })

  it('takes from the environment what the configuration leaves open', () => {
    const env = { PGUSER: 'eu', PGDATABASE: 'ed', PGHOST: 'eh', PGPORT: '7', PGPASSWORD: 'ep' }
    const { host, port, user, database, password } = settings({ ConnectionUri: 'postgresql://' }, env).ways[0] ?? {}
    assert.deepEqual([host, port, user, database, password], ['eh', 7, 'eu', 'ed', 'ep'])
    const given = settings({ Username: 'u', Database: 'd', Password: 'p' }, env).ways[0]
    assert.deepEqual([given?.host, given?.user, given?.database, given?.password], ['localhost', 'u', 'd', 'p'])
    const { username } = userInfo()
    assert.deepEqual([settings({}).ways[0]?.user, settings({}).ways[0]?.database], [username, username])
  })

  it('is encrypted as libpq would do it', () => {
    const ways = (section: object, env = {}) => settings(section, env).ways.map(({ ssl }) => ssl)
    const any = { rejectUnauthorized: false }
    const uri = (query: string) => ({ ConnectionUri: `postgresql://h/d${query}` })
    assert.deepEqual(ways({}), [false])
    assert.deepEqual(ways({ EnableSsl: true }), [any])
    assert.deepEqual(ways(uri('')), [any, false])
    assert.deepEqual(ways(uri('?sslmode=prefer')), [any, false])
    assert.deepEqual(ways(uri('?sslmode=allow')), [false, any])
    assert.deepEqual(ways(uri('?sslmode=disable'), { PGSSLMODE: 'require' }), [false])
    assert.deepEqual(ways(uri('?sslmode=require')), [any])
    assert.deepEqual(ways(uri(''), { PGSSLMODE: 'require' }), [any])
    assert.deepEqual(ways(uri('?sslmode=verify-full')), [{}])
  })

  for (const uri of [
    'postgresql://u:S3cr3t@a,b/d',
    'postgresql://u:S3cr3t@h/d?host=a,b',
    'postgresql://u:S3cr3t@h:99999/d',
    'postgresql://u:S3cr3t%@h:x/d',
    'postgresql://u:S3cr3t@h/d?sslmode=maybe',
    'postgresql://u:S3cr3t@h/d?sslmode=verify-ca',
    'postgresql://u:S3cr3t@h/d?sslmode=verify-full&sslrootcert=/nowhere',
  ])
    it(`is refused without its password: ${uri.slice(22)}`, () => {
      assert.throws(
        () => settings({ ConnectionUri: uri }),
        (error: Fault) => {
          assert.equal(error.code, 'BadConfig')
          assert.doesNotMatch(`${error.describe()} ${error.cause}`, /S3cr3t/)
          return /^PostgreSQL\.ConnectionUri cannot be used/.test(error.message)
        },
      )
    })
})

describe('a command', () => {
  const http = { caFile: undefined, proxy: undefined, noProxy: [] }
  const none = () => fileOf('{}')
  const user = (text: string) => {
    const file = join(folder, 'user')
    writeFileSync(file, text)
    return { config: [], orthanc: 'http://localhost:8042', orthancUserFile: file }
  }

  it('reads the database that the configuration names, or asks the Orthanc that it is told', async () => {
    const file = fileOf('{"PostgreSQL": {"EnableIndex": true, "Host": "db", "Database": "o"}}')
    const [direct, asked] = [{}, { orthanc: 'http://localhost:8042/' }].map(
      more => openIndex({ config: [file], ...more }, http).index,
    )
    assert.equal(direct?.name, 'PostgreSQL database o on db:5432')
    assert.equal(asked?.name, 'Orthanc at http://localhost:8042')
    await asked?.close()
    await direct?.close()
  })

  it('says what to give when nothing says where the index is', () => {
    assert.throws(() => openIndex({ config: [none()] }, http), { code: 'BadRequest', remedy: /--orthanc http/ })
    const alone = { config: [none()], orthancUserFile: '/nowhere' }
    assert.throws(() => openIndex(alone, http), { code: 'BadRequest', message: /without --orthanc/ })
  })

  it('takes a user from a file of one line, and never shows it', async () => {
    for (const text of ['u:p', 'u:p:with ü\n', 'u:p\r\n']) await openIndex(user(text), http).index.close()
    for (const text of ['', 'S3cr3t', ':S3cr3t', 'S3cr3t:', 'u:p\nu:S3cr3t\n'])
      assert.throws(
        () => openIndex(user(text), http),
        (error: Fault) => error.code === 'BadRequest' && !error.describe().includes('S3cr3t'),
      )
    const nowhere = { config: [], orthanc: 'http://h', orthancUserFile: join(folder, 'nowhere') }
    assert.throws(() => openIndex(nowhere, http), { code: 'BadRequest', message: /there is no such file/ })
  })
})
