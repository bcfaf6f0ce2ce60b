/** The Google store against fake-gcs-server, and against Google's own SDK: what one writes the other reads. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, describe, it } from 'node:test'
import { Storage } from '@google-cloud/storage'
import { makeBucket } from '../../harness/fake-gcs.ts'
import { collect, type Source } from '../../src/bytes.ts'
import { digestOf } from '../../src/stores/digest.ts'
import { type GcsOptions, gcsStore } from '../../src/stores/gcs/gcs.ts'
import type { Store } from '../../src/stores/store.ts'
import { withChecksum } from '../../src/stores/wrappers/checksum.ts'
import { withLog } from '../../src/stores/wrappers/log.ts'
import { withRetry } from '../../src/stores/wrappers/retry.ts'
import { itSays } from '../support/faults.suite.ts'
import { flaky } from '../support/flaky.ts'
import { describeBoth } from '../support/sdk.suite.ts'
import { chunked, describeStore, MANY, never, noise } from '../support/store.suite.ts'
import { liveServer } from './support/servers.ts'

const server = liveServer('fake-gcs')
const silent = () => {}
const MB = 1024 * 1024

if (server) {
  const sdk = new Storage({ apiEndpoint: server.endpoint, projectId: 'test' })
  const open = (bucket: string, more: Partial<GcsOptions> = {}): Store =>
    gcsStore(
      {
        bucket,
        endpoint: server.endpoint,
        serviceAccountFile: undefined,
        storageClass: undefined,
        connectTimeoutMs: 60_000,
        requestTimeoutMs: 120_000,
        maxConnections: 25,
        maxRetries: 2,
        ...more,
      },
      { caFile: undefined, proxy: undefined, probeKey: 'probe' },
      silent,
    )
  const newBucket = async (): Promise<string> => {
    const name = `t-${randomUUID()}`
    await makeBucket(server, name)
    return name
  }
  const inBucket = async (wrap: (store: Store) => Store = store => store) => {
    const store = open(await newBucket())
    return { store: wrap(store), dispose: () => store.close() }
  }
  const retried = withRetry({ maxRetries: 10, firstDelayMs: 1 }, silent)

  describeStore('gcs', () => inBucket(), { listed: MANY, storageClass: 'STANDARD' })
  describeStore('withLog(withChecksum(withRetry(flaky(gcs))))', () =>
    inBucket(store => withLog(silent)(withChecksum(retried(flaky(store))))),
  )

  describeBoth('gcs and the official SDK', async () => {
    const bucket = sdk.bucket(await newBucket())
    const store = open(bucket.name)
    return {
      store,
      write: (key, bytes) => bucket.file(key).save(bytes),
      read: async key => (await bucket.file(key).download())[0],
      dispose: () => store.close(),
      large: 70 * MB,
    }
  })

  describe('gcs', () => {
    let bucket: string
    before(async () => {
      bucket = await newBucket()
    })

    for (const size of [1000, 70 * MB])
      it(`stores a CRC-32C and the class with ${size} bytes`, async () => {
        const store = open(bucket, { storageClass: 'NEARLINE' })
        const bytes = noise(size, 2)
        await store.put(`class/${size}`, chunked(bytes), never)
        const [found] = await sdk.bucket(bucket).file(`class/${size}`).getMetadata()
        assert.equal(found.storageClass, 'NEARLINE')
        assert.equal(found.crc32c, digestOf('crc32c', bytes))
        const content = await store.get(`class/${size}`, undefined, never)
        assert.deepEqual(content.digest, { name: 'crc32c', value: digestOf('crc32c', bytes) })
        assert.deepEqual(await collect(content), bytes)
        await store.close()
      })

    it('an upload in parts that fails shows nothing, and the next one succeeds', async () => {
      const store = open(bucket)
      const body: Source = {
        size: 70 * MB,
        open: range => (range?.start ? brokenBody() : chunked(noise(16 * MB)).open()),
      }
      await assert.rejects(store.put('failed', body, never))
      assert.equal(await store.stat('failed', never), undefined)
      await store.put('failed', chunked(noise(65 * MB)), never)
      assert.equal((await store.stat('failed', never))?.size, 65 * MB)
      await store.close()
    })
  })

  describe('gcs says what is wrong', () => {
    const lacking = (more: Partial<GcsOptions>) => () => open('some-bucket', { maxRetries: 0, ...more })
    // With other verbs this emulator answers alike for a missing bucket and a missing object. Google does not:
    // see gcs-faults.test.ts.
    itSays('a missing bucket', lacking({ bucket: 'no-such-bucket' }), 'BadConfig', /no bucket 'no-such-bucket'/, {
      verbs: ['check', 'put', 'list'],
    })
    itSays(
      'a host that does not exist',
      lacking({ endpoint: 'http://no.such.host.invalid' }),
      'Unavailable',
      /host|DNS/,
    )
    itSays('nobody there', lacking({ endpoint: 'http://127.0.0.1:1' }), 'Unavailable', /Nothing listens/)
  })
} else it('needs fake-gcs-server', { skip: 'there is none' })

async function* brokenBody(): AsyncIterable<Uint8Array> {
  yield noise(10)
  throw new Error('broken on purpose')
}
