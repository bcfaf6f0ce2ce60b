/** `copy` between real stores: by their own digests, in parts, sealed and plain, and onto a disk that is full. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { keysOf } from '../../src/area/naming.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import { a1 } from '../../src/seal/a1.ts'
import { plain } from '../../src/seal/envelope.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import { LONG } from '../support/long.ts'
import { noise } from '../support/noise.ts'
import { startCopy } from './support/copy-command.ts'
import { mountExt4, unmountAll, whyNoMounts } from './support/mounts.ts'
import { azurePlace, directoryPlace, gcsPlace, type Place, s3Place } from './support/places.ts'
import { liveServer, s3Server } from './support/servers.ts'

const never = new AbortController().signal
const MB = 1024 * 1024
const folder = mkdtempSync(join(tmpdir(), 'ocs-copy-live-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const keyFiles = [1, 2].map(id => {
  const file = join(folder, `${id}.key`)
  writeFileSync(file, `${Buffer.alloc(32, id).toString('base64')}\n`, { mode: 0o600 })
  return file
})
const keyOf = (id: number) => masterKey(id, Buffer.alloc(32, id).toString('base64'))
const large = noise(17 * MB, 1)

type More = Readonly<Record<string, unknown>>
const [minio, azurite, gcs] = [liveServer('minio'), liveServer('azurite'), liveServer('fake-gcs')]
const makers: readonly (readonly [string, (more: More) => Promise<Place>])[] = [
  ['a directory', directoryPlace],
  ...(s3Server() ? [['S3', (more: More) => s3Place({ RootPath: 'orthanc/files', ...more })] as const] : []),
  ...(azurite ? [['Azure', (more: More) => azurePlace(azurite, more)] as const] : []),
  ...(gcs ? [['Google', (more: More) => gcsPlace(gcs, { RootPath: 'x', ...more })] as const] : []),
  ...(minio ? [['S3 in parts', (more: More) => s3Place({ UseTransferManager: true, ...more }, minio)] as const] : []),
]

interface Kind {
  readonly structure: 'flat' | 'legacy'
  /** Of the master key; 0 = plain. */
  readonly key: number
}
const kinds: readonly (readonly [Kind, Kind])[] = [
  [
    { structure: 'flat', key: 0 },
    { structure: 'flat', key: 0 },
  ],
  [
    { structure: 'flat', key: 0 },
    { structure: 'legacy', key: 1 },
  ],
  [
    { structure: 'flat', key: 1 },
    { structure: 'flat', key: 2 },
  ],
  [
    { structure: 'flat', key: 1 },
    { structure: 'legacy', key: 0 },
  ],
  [
    { structure: 'legacy', key: 1 },
    { structure: 'legacy', key: 1 },
  ],
]
const optionsOf = ({ structure, key }: Kind) => ({
  StorageStructure: structure,
  ...(key > 0 && { StorageEncryption: { MasterKey: [key, keyFiles[key - 1]] } }),
})
const describeKind = ({ structure, key }: Kind) => `${structure}, ${key === 0 ? 'plain' : `key ${key}`}`
const envelopeOf = ({ key }: Kind) => (key === 0 ? plain : a1(keyring(keyOf(key), [])))
const nameOf = (place: Place, kind: Kind, uuid: string) => {
  const [section] = Object.values(place.config)
  const naming = { rootPath: String(section?.['RootPath'] ?? ''), structure: kind.structure, legacyUnknownFiles: false }
  return keysOf(naming, envelopeOf(kind).suffix, { uuid, type: 'dicom' })[0]
}

// `npm test` has each store once on each side, and each kind once. LONG=1 has every kind on every store.
for (const [i, [name, make]] of makers.entries())
  for (const [k, [one, other]] of kinds.entries()) {
    if (!LONG && i !== k) continue
    const [otherName, makeOther] = makers[(i + 1) % makers.length] as (typeof makers)[number]
    describe(`copy from ${name} (${describeKind(one)}) to ${otherName} (${describeKind(other)})`, () => {
      it('brings every byte, proves it, and copies only the difference the next time', async () => {
        const [from, to] = [await make(optionsOf(one)), await makeOther(optionsOf(other))]
        after(() => Promise.all([from.dispose(), to.dispose()]))
        for (const { store } of [from, to]) await store.check(never) // makes the container of Azure
        const files = new Map<string, Buffer>()
        const write = async (bytes: Buffer) => {
          const uuid = randomUUID()
          files.set(uuid, bytes)
          await from.store.put(nameOf(from, one, uuid), envelopeOf(one).seal(sourceOf(bytes)), never)
        }
        for (const bytes of [large, Buffer.alloc(0), ...Array.from({ length: 20 }, (_, n) => noise(1000 + n, n + 1))])
          await write(bytes)
        const decrypt = one.key > 0 && other.key === 0 ? ['--decrypt'] : []
        const first = await startCopy(folder, from.config, to.config, ...decrypt).ended
        assert.deepEqual([first.code, first.stderr], [0, ''])
        for (const [uuid, bytes] of files) {
          const found = await to.store.get(nameOf(to, other, uuid), undefined, never)
          assert.ok((await collect(envelopeOf(other).unseal(found))).equals(bytes))
        }
        const equal = first.summary['equal'] as Record<string, number>
        // Folders tell no digest, and of the large one it may be that nobody knows one.
        if (otherName === 'a directory') assert.equal(equal['md5'], 0)
        else assert.ok((equal['md5'] ?? 0) >= files.size - 1, JSON.stringify(equal))
        assert.equal(
          Object.values(equal).reduce((sum, count) => sum + count),
          files.size,
        )

        await write(noise(77, 5))
        const second = await startCopy(folder, from.config, to.config, '--deep', ...decrypt).ended
        assert.deepEqual([second.code, second.stderr], [0, ''])
        assert.equal((second.summary['copied'] as Record<string, number>)['objects'], 1)
        assert.deepEqual(second.summary['equal'], { bytes: files.size, md5: 0, written: 0, size: 0 })
      })
    })
  }

const missing = whyNoMounts()
if (missing && process.env['LIVE'] === 'required') throw new Error(`LIVE=required, but ${missing}`)
if (!missing)
  describe('copy to a disk that is full', () => {
    const FILES = 130
    const disk = join(folder, 'disk')
    const filler = join(disk, 'filler')
    before(() => {
      mountExt4(disk, join(folder, 'image'), 64)
      writeFileSync(filler, noise(52 * MB))
    })
    after(() => unmountAll(disk))

    it('ends soon, leaves no half of a file, and goes on when there is room', async () => {
      const from = await directoryPlace()
      after(() => from.dispose())
      // So many that twenty in a row fail, also when what others give up makes room for some.
      for (let n = 0; n < FILES; n++) await from.store.put(`${randomUUID()}.dcm`, sourceOf(noise(300_000, n)), never)
      const to = { DirectoryStorage: { Path: join(disk, 'objects') } }
      const state = join(folder, 'state')
      const full = await startCopy(folder, from.config, to, '--state', state).ended
      assert.equal(full.code, 3)
      assert.match(full.stderr, /ENOSPC/)
      const { objects = 0 } = full.summary['copied'] as Record<string, number>
      assert.ok(objects < FILES)
      rmSync(filler)
      const second = await startCopy(folder, from.config, to, '--state', state).ended
      assert.deepEqual([second.code, second.stderr], [0, ''])
      const third = await startCopy(folder, from.config, to, '--deep').ended
      assert.equal((third.summary['equal'] as Record<string, number>)['bytes'], FILES)
      assert.equal((third.summary['copied'] as Record<string, number>)['objects'], 0)
    })
  })
