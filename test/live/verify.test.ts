/** `verify` on real stores: what was planted is found, and nothing else, by what each server tells and by its bytes. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { keysOf, type Naming } from '../../src/area/naming.ts'
import { sourceOf } from '../../src/bytes.ts'
import type { VerifyArguments } from '../../src/cli/verify.ts'
import type { Indexed } from '../../src/orthanc-index/orthanc-index.ts'
import { a1 } from '../../src/seal/a1.ts'
import { plain } from '../../src/seal/envelope.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import { LONG } from '../support/long.ts'
import { noise } from '../support/noise.ts'
import { md5Of } from '../support/verify-stage.ts'
import { azurePlace, directoryPlace, gcsPlace, type Place, s3Place } from './support/places.ts'
import { liveServer, s3Server } from './support/servers.ts'

const never = new AbortController().signal
const MB = 1024 * 1024
/** Of a run that takes longer than ten seconds. */
const PROGRESS = /^orthanc-cloud-storage: (\d+ %|\d+ files in the index|\d+ to be looked at).*\n/gm
const folder = mkdtempSync(join(tmpdir(), 'ocs-verify-live-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const textOf = (id: number) => Buffer.alloc(32, id).toString('base64')
const keyFile = join(folder, '1.key')
writeFileSync(keyFile, `${textOf(1)}\n`, { mode: 0o600 })
const ours = a1(keyring(masterKey(1, textOf(1)), []))
const strangers = a1(keyring(masterKey(9, textOf(9)), []))

const [minio, azurite, gcs] = [liveServer('minio'), liveServer('azurite'), liveServer('fake-gcs')]
const makers: readonly (readonly [string, (more: Record<string, unknown>) => Promise<Place>])[] = [
  ['a directory', directoryPlace],
  ...(s3Server()
    ? [['S3', (more: Record<string, unknown>) => s3Place({ RootPath: 'orthanc/files', ...more })] as const]
    : []),
  ...(minio
    ? [['MinIO', (more: Record<string, unknown>) => s3Place({ UseTransferManager: true, ...more }, minio)] as const]
    : []),
  ...(azurite ? [['Azure', (more: Record<string, unknown>) => azurePlace(azurite, more)] as const] : []),
  ...(gcs ? [['Google', (more: Record<string, unknown>) => gcsPlace(gcs, more)] as const] : []),
]

function verify(place: Place, files: readonly Indexed[], more: Partial<VerifyArguments>) {
  const config = join(folder, `${randomUUID()}.json`)
  writeFileSync(config, JSON.stringify(place.config))
  const index = join(folder, `${randomUUID()}.index`)
  writeFileSync(index, JSON.stringify({ files }))
  const options = { config: [config], olderThan: 0, settle: 0, concurrency: 8, json: '-', scratch: folder, ...more }
  const script = join(import.meta.dirname, '..', 'support', 'verify-run.ts')
  const child = spawn(process.execPath, [script, JSON.stringify(options), `@${index}`])
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', text => (said.stdout += text))
  child.stderr.on('data', text => (said.stderr += text))
  return new Promise<{ code: number | null; found: string[]; stderr: string; summary: Record<string, unknown> }>(
    resolve =>
      child.once('close', code => {
        const lines = said.stdout
          .trimEnd()
          .split('\n')
          .filter(line => line !== '')
          .map(line => JSON.parse(line))
        const summary = lines.pop() ?? {}
        const stderr = said.stderr.replace(PROGRESS, '')
        resolve({ code, stderr, summary, found: lines.map(({ kind, key }) => `${kind} ${key}`).sort() })
      }),
  )
}

// `npm test` has each store once, in turn flat and legacy, plain and encrypted. LONG=1 has everything.
for (const [i, [name, make]] of makers.entries())
  for (const structure of LONG
    ? (['flat', 'legacy'] as const)
    : [i % 2 === 0 ? ('flat' as const) : ('legacy' as const)])
    for (const encrypted of LONG ? [false, true] : [i % 4 < 2])
      describe(`verify on ${name}, ${structure}, ${encrypted ? 'encrypted' : 'plain'}`, () => {
        it('finds what was planted and nothing else', async () => {
          const place = await make({
            StorageStructure: structure,
            ...(encrypted && { StorageEncryption: { MasterKey: [1, keyFile] } }),
          })
          after(() => place.dispose())
          await place.store.check(never) // makes the container of Azure
          const [section] = Object.values(place.config)
          const naming: Naming = { rootPath: String(section?.['RootPath'] ?? ''), structure, legacyUnknownFiles: false }
          const files: Indexed[] = []
          const keyOf = (file: Indexed) => keysOf(naming, encrypted ? '.enc' : '', file)[0]
          const put = (file: Indexed, bytes: Buffer, envelope = encrypted ? ours : plain) =>
            place.store.put(keyOf(file), envelope.seal(sourceOf(bytes)), never)
          const add = async (bytes: Buffer) => {
            const file = { uuid: randomUUID(), type: 'dicom', size: bytes.byteLength, md5: md5Of(bytes) } as const
            files.push(file)
            await put(file, bytes)
            return file
          }
          const wrongSize: string[] = []
          const wrongBytes: string[] = []
          const orphans: string[] = []
          const other = (file: Indexed) => keysOf(naming, encrypted ? '' : '.enc', file)[0]
          /** What goes wrong with a file, each in its turn. */
          const faults: readonly ((file: Indexed, bytes: Buffer, i: number) => Promise<unknown>)[] = [
            async file => {
              await place.remove(keyOf(file))
              wrongSize.push(`missing ${keyOf(file)}`)
            },
            async file => {
              files.splice(files.indexOf(file), 1)
              orphans.push(keyOf(file))
            },
            async (file, bytes, i) => {
              await put(file, noise(bytes.byteLength + 1 + (i % 7), i))
              wrongSize.push(`wrong size ${keyOf(file)}`)
            },
            async (file, bytes, i) => {
              await put(file, noise(bytes.byteLength, i + 1))
              wrongBytes.push(`corrupt ${keyOf(file)}`)
            },
            async (file, bytes) => {
              if (encrypted) await put(file, bytes, strangers)
              if (encrypted) wrongBytes.push(`unknown key ${keyOf(file)}`)
            },
            async file => {
              if (structure === 'legacy') return // there, both would have one name
              await place.store.put(other(file), sourceOf(Buffer.from('once more')), never)
              wrongSize.push(`double ${other(file)}`)
            },
          ]
          // One of them goes up in parts where the store does that. Its ETag is no MD5.
          const large = await add(noise(17 * MB, 1))
          const [objects, every] = LONG ? [/Azure|Google/.test(name) ? 1_000 : 10_000, 20] : [42, 2]
          const numbers = Array(objects).keys()
          const work = async () => {
            for (const i of numbers) {
              const bytes = noise(1000 + (i % 500), i)
              const file = await add(bytes)
              if (i % every === 0) await faults[(i / every) % faults.length]?.(file, bytes, i)
            }
          }
          await Promise.all([work(), work(), work(), work()])
          wrongSize.push(...orphans.map(key => `orphan ${key}`))
          const simple = await verify(place, files, {})
          assert.equal(simple.stderr, '')
          assert.deepEqual(simple.found, wrongSize.sort())
          assert.deepEqual([simple.code, simple.summary['complete'], simple.summary['settled']], [1, true, 0])

          const tellsMd5 = name !== 'a directory' && !encrypted
          const digests = await verify(place, files, { digests: true })
          assert.deepEqual(digests.found, [...wrongSize, ...(tellsMd5 ? wrongBytes : [])].sort())

          const deep = await verify(place, files, { deep: true })
          assert.deepEqual(deep.found, [...wrongSize, ...wrongBytes].sort())

          await put(large, Buffer.concat([noise(17 * MB - 1, 1), Buffer.from('!')]))
          const last = await verify(place, files, { deep: true })
          assert.deepEqual(last.found, [...wrongSize, ...wrongBytes, `corrupt ${keyOf(large)}`].sort())
          assert.equal(last.stderr, '')

          const repair = { repair: ['orphans=trash'], yes: true, expect: orphans.length } as const
          const repaired = await verify(place, files, repair)
          assert.equal(repaired.stderr, '')
          assert.deepEqual(
            repaired.found.filter(line => line.startsWith('repaired ')),
            orphans.map(key => `repaired ${key}`).sort(),
          )
          const left = await verify(place, files, {})
          assert.deepEqual(left.found, wrongSize.filter(line => !line.startsWith('orphan ')).sort())
          const [tally] = left.summary['places'] as { trash: number; strangers: number }[]
          assert.deepEqual([tally?.trash, tally?.strangers], [orphans.length, 0])
        })
      })
