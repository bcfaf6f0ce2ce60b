/** `verify` as people run it: beside a working Orthanc, whose index is in SQLite or in PostgreSQL. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, PLUGIN, startOrthanc } from '../../harness/orthanc.ts'
import { indexIn, POSTGRESQL_INDEX, type PostgreSql, startPostgresql } from '../../harness/postgresql.ts'
import { sourceOf } from '../../src/bytes.ts'
import { program } from '../support/program.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { liveOrthanc, livePostgresql, s3Server } from './support/servers.ts'

const never = new AbortController().signal
const FILES = 12

const folder = mkdtempSync(join(tmpdir(), 'ocs-verify-orthanc-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const keyFile = join(folder, '1.key')
writeFileSync(keyFile, `${Buffer.alloc(32, 1).toString('base64')}\n`, { mode: 0o600 })

interface Ended {
  readonly code: number
  /** Without the summary. */
  readonly findings: readonly string[]
  readonly summary: Readonly<Record<string, unknown>>
  readonly stderr: string
}

/** `config`: of Orthanc. */
function verify(config: object, ...more: string[]): Promise<Ended> {
  const file = join(folder, `${randomUUID()}.json`)
  writeFileSync(file, JSON.stringify(config))
  const [node = '', ...script] = program
  const usual = ['--settle', '0m', '--older-than', '0m', '--json', '-', '--scratch', folder]
  return new Promise(resolve =>
    execFile(node, [...script, 'verify', '--config', file, ...usual, ...more], (error, stdout, stderr) => {
      const lines = stdout.split('\n').filter(line => line !== '')
      const [summary = {}, ...findings] = lines.map(line => JSON.parse(line)).toReversed()
      const found = findings.map(({ kind, key }) => `${kind} ${key}`).sort()
      resolve({ code: Number(error?.code ?? 0), findings: found, summary, stderr })
    }),
  )
}

const withDatabase = livePostgresql() && (await liveOrthanc('forky'))

const sealed = { StorageEncryption: { MasterKey: [1, keyFile] } }
const s3 = s3Server() ? [{ name: 'S3, encrypted', make: () => s3Place(sealed) }] : []
const kinds: readonly { name: string; make(): Promise<Place> }[] = [
  { name: 'a directory', make: () => directoryPlace({}) },
  ...s3,
]

for (const { name, make } of kinds)
  for (const database of [undefined, ...(withDatabase ? ['PostgreSQL'] : [])])
    describe(`verify of ${name}, with the index in ${database ?? 'SQLite'}`, { concurrency: 1 }, () => {
      let postgresql: PostgreSql | undefined
      let place: Place
      let orthanc: OrthancProcess
      let config: Readonly<Record<string, unknown>>
      /** Where the index is: in the configuration, or by an argument. */
      let where: string[]
      let stored: readonly string[]

      before(async () => {
        place = await make()
        config = place.config
        if (database) {
          postgresql = await startPostgresql()
          await postgresql.makeDatabase('verified')
          config = { ...config, PostgreSQL: indexIn(postgresql, 'verified'), Plugins: [POSTGRESQL_INDEX, PLUGIN] }
        }
        orthanc = await startOrthanc({ dir: join(folder, randomUUID()), config, ...(database && { release: 'forky' }) })
        where = database ? [] : ['--orthanc', orthanc.url]
        for (let seed = 0; seed < FILES; seed++)
          await orthanc.postJson('/instances', makeImage({ seed, rows: 64, columns: 64, series: seed % 3 }))
        stored = await place.keys()
      })
      after(async () => {
        await orthanc?.stop()
        await postgresql?.stop()
        await place?.dispose()
      })

      it('finds nothing where everything is well, and reads it all', async () => {
        for (const how of [[], ['--digests'], ['--deep']]) {
          const { code, findings, summary, stderr } = await verify(config, ...where, ...how)
          assert.deepEqual([code, findings, stderr], [0, [], ''])
          assert.equal(summary['complete'], true)
          assert.equal(summary['indexed'], stored.length)
        }
      })

      it('finds what is missing and what is too much', async () => {
        const [gone = '', model = ''] = stored
        const extra = model.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, randomUUID())
        await place.remove(gone)
        await place.store.put(extra, sourceOf(Buffer.from('not in any index')), never)
        const { code, findings, stderr } = await verify(config, ...where)
        assert.deepEqual([code, findings, stderr], [1, [`missing ${gone}`, `orphan ${extra}`], ''])
      })

      // The store does not matter for it, and it takes some seconds of repeated questions.
      if (name !== 'a directory') return
      it('says that it could not finish when the index is away, and calls nothing missing', async () => {
        if (database) await postgresql?.stop()
        else await orthanc.stop()
        const { code, findings, stderr } = await verify(config, ...where)
        assert.deepEqual([code, findings], [3, []])
        assert.match(stderr, database ? /PostgreSQL/ : /no answer of Orthanc at/)
      })
    })
