/** Writes that a killed process of ours has left behind, on real stores: `verify` finds them, and repairs them. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { until } from '../../harness/until.ts'
import { prefixOf } from '../../src/area/naming.ts'
import type { VerifyArguments } from '../../src/cli/verify.ts'
import { leftoversOf } from '../support/leftovers.suite.ts'
import { azurePlace, directoryPlace, gcsPlace, type Place, s3Place } from './support/places.ts'
import { liveServer, s3Server } from './support/servers.ts'

const never = new AbortController().signal
const MB = 1024 * 1024
const DAY_MS = 24 * 3_600_000
const folder = mkdtempSync(join(tmpdir(), 'ocs-leftovers-live-'))
after(() => rmSync(folder, { recursive: true, force: true }))

interface Kind {
  readonly name: string
  readonly make: () => Promise<Place>
  readonly found: RegExp
  /** Absent: the provider does it, and removeLeftover() says so. */
  readonly removes?: true
  /** Above this, an object goes up in parts. Bytes. */
  readonly size: number
}

const upload = /^an upload that began 2\d{3}-/
const RootPath = 'orthanc/files'
const inParts = { RootPath, UseTransferManager: true }
const [minio, azurite, gcs] = [liveServer('minio'), liveServer('azurite'), liveServer('fake-gcs')]
const kinds: readonly Kind[] = [
  {
    name: 'a directory',
    make: () => directoryPlace({ RootPath }),
    found: /^a temporary file of \d+ bytes, last written 2/,
    removes: true,
    size: 4 * MB,
  },
  ...(s3Server()
    ? [{ name: 'Ceph', make: () => s3Place(inParts), found: upload, removes: true as const, size: 60 * MB }]
    : []),
  ...(minio
    ? [{ name: 'MinIO', make: () => s3Place(inParts, minio), found: upload, removes: true as const, size: 60 * MB }]
    : []),
  ...(azurite ? [{ name: 'Azure', make: () => azurePlace(azurite, { RootPath }), found: upload, size: 60 * MB }] : []),
]

/** Writes with our own code, and dies when the store shows a part of it. */
async function abandon({ config, store }: Place, key: string, size: number): Promise<void> {
  const script = join(import.meta.dirname, 'support', 'abandon.ts')
  const given = size - 2 * MB
  const child = spawn(process.execPath, [script, JSON.stringify(config), key, String(size), String(given)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const ended = once(child, 'exit')
  try {
    await until(`a part of ${key}`, async () => (await leftoversOf(store, key)).length > 0)
  } finally {
    child.kill('SIGKILL')
    await ended
  }
}

async function verify({ config }: Place, olderThan: number) {
  const file = join(folder, `${randomUUID()}.json`)
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
  const options: VerifyArguments = { config: [file], olderThan, settle: 0, concurrency: 4, json: '-' }
  const script = join(import.meta.dirname, '..', 'support', 'verify-run.ts')
  const child = spawn(process.execPath, [script, JSON.stringify(options), JSON.stringify({ files: [] })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [lines] = await Promise.all([child.stdout.toArray(), once(child, 'exit')])
  const all = Buffer.concat(lines)
    .toString()
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  return { findings: all.slice(0, -1), places: all.at(-1).places, count: all.at(-1).findings.leftover }
}

for (const { name, make, found, removes, size } of kinds)
  describe(`a write that was cut off, on ${name}`, () => {
    it('is found when it is old enough, and removed', async () => {
      const place = await make()
      after(() => place.dispose())
      await place.store.check(never) // makes the container of Azure
      const prefix = prefixOf({ rootPath: RootPath, structure: 'flat', legacyUnknownFiles: false })
      const uuid = randomUUID()
      const key = `${prefix}${uuid}.dcm`
      const stranger = `elsewhere/${uuid}.dcm`
      await Promise.all([key, stranger].map(one => abandon(place, one, size)))

      const [young, all] = await Promise.all([verify(place, DAY_MS), verify(place, 0)])
      assert.deepEqual([young.findings, young.count], [[], 0])
      assert.equal(young.places[0].leftovers.young, 1)

      const { findings, places, count } = all
      const told = findings.map(({ kind, key: of, uuid: id, type }) => ({ kind, key: of, uuid: id, type }))
      assert.deepEqual(told, [{ kind: 'leftover', key, uuid, type: 'dicom' }])
      assert.match(findings[0].found, found)
      assert.deepEqual([count, places[0].leftovers.strangers], [1, 0])

      const [leftover] = await leftoversOf(place.store, prefix)
      assert.ok(leftover)
      if (!removes) return await assert.rejects(place.store.removeLeftover(leftover, never), { code: 'BadRequest' })
      await place.store.removeLeftover(leftover, never)
      assert.deepEqual((await verify(place, 0)).findings, [])
      assert.equal((await leftoversOf(place.store, stranger)).length, 1)
    })
  })

if (gcs)
  it('Google tells nothing of unfinished uploads', async () => {
    const place = await gcsPlace(gcs, { RootPath })
    after(() => place.dispose())
    assert.deepEqual(await leftoversOf(place.store, ''), [])
    assert.equal((await verify(place, 0)).count, 0)
  })
