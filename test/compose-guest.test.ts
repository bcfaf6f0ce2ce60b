/** What a command puts around the stores of a configuration holds for every way to their files. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { silent } from '../src/cli/compose-guest.ts'
import { readConfig } from '../src/cli/orthanc-config.ts'
import { compose } from '../src/compose.ts'
import type { EngineConfig } from '../src/config/config.ts'
import type { Store } from '../src/stores/store.ts'
import { never } from './support/tiers.ts'

const folder = mkdtempSync(join(tmpdir(), 'ocs-guest-'))
after(() => rmSync(folder, { recursive: true, force: true }))

describe('what is around all stores of a composition', () => {
  it('sees each call, of the object store and of the disk, also through the tiers', async () => {
    const file = join(folder, 'orthanc.json')
    const provider = { Path: join(folder, 'objects'), HybridMode: 'WriteToObjectStorage' }
    writeFileSync(file, JSON.stringify({ StorageDirectory: join(folder, 'disk'), DirectoryStorage: provider }))
    for (const name of ['objects', 'disk']) mkdirSync(join(folder, name))
    const seen: string[] = []
    const counting = (store: Store): Store => ({
      ...store,
      stat: (key, signal) => {
        seen.push(`stat ${store.name}`)
        return store.stat(key, signal)
      },
      get: (key, range, signal) => {
        seen.push(`get ${store.name}`)
        return store.get(key, range, signal)
      },
    })
    const { store, tiers, hybrid } = compose(readConfig([file]) as EngineConfig, silent, 'guest', counting)
    const attachment = { uuid: randomUUID(), type: 'dicom' } as const
    for (const [place, tier] of [
      [store, tiers['object-storage']],
      [hybrid?.fileSystem, tiers['file-system']],
    ] as const) {
      assert.ok(place && tier)
      await place.stat('a', never)
      await tier.find(attachment, never)
      await assert.rejects(tier.area.read(attachment, undefined, never))
      const [first, ...more] = seen.splice(0)
      assert.equal(first, `stat ${place.name}`)
      assert.deepEqual([...new Set(more)], [`stat ${place.name}`, `get ${place.name}`])
    }
    await store.close()
  })
})
