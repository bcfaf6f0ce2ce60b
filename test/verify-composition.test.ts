/** The job `VerifyStorage` as a configuration makes it: what it knows of the journal of removals and of the cache. */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { type Composition, compose } from '../src/compose.ts'
import { parseConfig } from '../src/config/config.ts'
import { Fault } from '../src/fault.ts'
import { logTo } from '../src/log.ts'
import type { Store } from '../src/stores/store.ts'
import { requestOf } from '../src/verify-job/request.ts'
import { temporaryFolder, until } from './support/deletions.ts'
import { IndexedOrthanc } from './support/indexed-orthanc.ts'
import { md5Of, never } from './support/verify-stage.ts'

const none = { missing: 0, 'wrong size': 0, corrupt: null, 'unknown key': null, orphan: 0, double: 0, leftover: 0 }
const BYTES = Buffer.from('ten bytes!')

/** A site with one file: its Orthanc, and the composition of a configuration. */
async function site() {
  const folder = temporaryFolder()
  const [Path, StorageDirectory] = [join(folder, 'objects'), join(folder, 'db')]
  for (const made of [Path, StorageDirectory]) mkdirSync(made)
  const orthanc = new IndexedOrthanc('1.12.5')
  orthanc.addPatient('p')
  const composed = (CloudStorage: object = {}): Composition => {
    const json = JSON.stringify({ DirectoryStorage: { Path }, StorageDirectory, CloudStorage })
    const { config } = parseConfig(json, folder, '1.12.5')
    assert.ok(config)
    return compose(
      config,
      logTo(() => {}),
    )
  }
  const { area } = composed()
  for (const file of orthanc.rows()) await area.create(file, sourceOf(BYTES), never)
  const verify = async ({ verifications }: Composition, more: object = {}) => {
    const job = verifications.create(requestOf({ OlderThan: '0', Settle: '0', ...more }))
    while ((await job.step(orthanc, never)) === 'continue');
    return job.content()
  }
  return { folder, objects: Path, orthanc, composed, verify }
}

describe('the job VerifyStorage of a configuration', () => {
  it('calls nothing an orphan that waits in the journal, also when deferred removals are off again', async () => {
    const { composed, verify } = await site()
    const key = '0a1b2c3d-4e5f-4a6b-8c7d-000000000001.dcm'
    const deferring = composed({ DeferredDeletion: true })
    await deferring.store.put(key, sourceOf(BYTES), never)
    assert.deepEqual((await verify(composed()))['Found'], { ...none, orphan: 1 })
    const away: Store = {
      ...deferring.store,
      removeMany: async keys => new Map(keys.map(one => [one, new Fault('Unavailable', 'not now')])),
    }
    await deferring.deletions?.open(away) // else it might be removed before anybody has looked
    assert.equal(await deferring.deletions?.note(key), true)
    try {
      for (const composition of [deferring, composed()]) {
        const { Found, InJournalOfRemovals } = await verify(composition)
        assert.deepEqual([Found, InJournalOfRemovals], [none, 1])
      }
    } finally {
      await deferring.deletions?.close(0)
    }
  })

  it('reads the store, and not what the cache has of it', async () => {
    const { folder, objects, orthanc, composed, verify } = await site()
    const cached = composed({ Cache: { Path: join(folder, 'cache') } })
    await cached.cache?.start(true)
    orthanc.instead = uri => (uri === '/system' ? { Version: '1.10.1', DatabaseVersion: 6 } : undefined)
    const { get } = orthanc
    orthanc.get = async uri => {
      const answer = await get.call(orthanc, uri)
      return uri.endsWith('/info') ? { ...(answer as object), CompressedMD5: md5Of(BYTES) } : answer
    }
    const [file] = orthanc.rows().filter(({ type }) => type === 'dicom')
    assert.ok(file)
    for (let i = 0; i < 2; i++) await cached.area.deliver(file, undefined, drained, never)
    await until(() => (cached.cache?.figures().files ?? 0) > 0)
    writeFileSync(join(objects, `${file.uuid}.dcm`), 'ten bytes?')
    const { Found } = await verify(cached, { Deep: true })
    assert.deepEqual(Found, { ...none, corrupt: 1, 'unknown key': 0 })
    await cached.cache?.close()
  })
})

async function drained({ body }: { body: AsyncIterable<unknown> }): Promise<void> {
  for await (const _ of body);
}
