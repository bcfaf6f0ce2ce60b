/**
 * One short round of the soak, in which everything happens once. LONG=1: on each store, plain and encrypted. The whole
 * soak is `npm run soak`.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { soak } from '../soak/soak.ts'
import { setStage } from '../soak/stage.ts'
import { LONG } from '../support/long.ts'
import { azurePlace, directoryPlace, gcsPlace, type Place, s3Place } from './support/places.ts'
import { liveServer } from './support/servers.ts'

interface Ground {
  readonly origin?: string
  make(UseTransferManager: boolean): Promise<Place>
}

function grounds(): Readonly<Record<string, Ground>> {
  const ceph = liveServer('ceph')
  const onCeph = ceph && {
    Ceph: { origin: ceph.endpoint, make: (UseTransferManager: boolean) => s3Place({ UseTransferManager }, ceph) },
  }
  if (!LONG) return { ...onCeph }
  const [minio, azurite, google] = [liveServer('minio'), liveServer('azurite'), liveServer('fake-gcs')]
  const VirtualAddressing = false
  return {
    ...onCeph,
    ...(minio && {
      MinIO: {
        origin: minio.endpoint,
        make: UseTransferManager => s3Place({ UseTransferManager, VirtualAddressing }, minio),
      },
    }),
    ...(azurite && { Azurite: { origin: new URL(azurite.endpoint).origin, make: () => azurePlace(azurite) } }),
    ...(google && { 'fake-gcs-server': { origin: google.endpoint, make: () => gcsPlace(google) } }),
    'a directory': { make: () => directoryPlace() },
  }
}

// The largest files go up in parts. Only encrypted ones are compared.
const kinds = [{ encrypted: true, hybrid: true }, ...(LONG ? [{ encrypted: false, hybrid: false }] : [])]

for (const [name, { origin, make }] of Object.entries(grounds()))
  describe(`Orthanc on ${name}, when everything fails in turn`, { concurrency: 1 }, () => {
    for (const kind of kinds)
      it(`${kind.encrypted ? 'encrypted and hybrid' : 'plain'}: nothing acknowledged is lost, nothing wrong is read, nothing is left unsaid`, async t => {
        const place = await make(kind.encrypted)
        const stage = await setStage({ place, ...(origin && { origin }), ...kind })
        try {
          const report = await soak(stage, {
            ...kind,
            seed: LONG ? Date.now() % 1_000_000 : 1,
            storm: { operations: 150, minutes: 0 },
            haul: { operations: 60, minutes: 0 },
            instances: 60,
            apart: 25,
            longestMs: 1000,
            flat: false,
          })
          t.diagnostic(`${report.operations} operations, ${[...report.faults.counts].map(String).join(', ')}`)
          assert.deepEqual(report.broken, [])
          assert.ok(report.instances > 10)
        } finally {
          await stage.close(false)
          await place.dispose()
        }
      })
  })
