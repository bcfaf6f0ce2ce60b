/** The memory that parts of large objects are gathered in: it is used again, and never while somebody reads it. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gather } from '../src/bytes.ts'
import { PartBuffers } from '../src/stores/http/part-buffers.ts'
import { providers } from './support/clouds.ts'
import { fc } from './support/property.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { cloudOfTest } from './support/undo.ts'

const MB = 1024 * 1024

describe('buffers for parts', () => {
  it('are used again, also for the last part of an upload, which is smaller', () => {
    const buffers = new PartBuffers(2)
    const first = buffers.take(100, 100)
    buffers.give(first)
    const last = buffers.take(7, 100)
    assert.equal(last.buffer, first.buffer)
    assert.equal(last.byteLength, 7)
    buffers.give(last)
    assert.equal(buffers.take(100, 100).buffer, first.buffer, 'all of it')
  })

  it('are new where those at hand are too small, or in use', () => {
    const buffers = new PartBuffers(2)
    const small = buffers.take(10, 10)
    buffers.give(small)
    assert.notEqual(buffers.take(11, 20).buffer, small.buffer)
    assert.notEqual(buffers.take(10, 10).buffer, buffers.take(10, 10).buffer)
  })

  it('are kept up to a number, and dropped for parts that are gathered elsewhere', () => {
    const buffers = new PartBuffers(2)
    const taken = [1, 2, 3].map(() => buffers.take(10, 10))
    for (const one of taken) buffers.give(one)
    buffers.dropOne()
    const known = [1, 2].filter(() => {
      const { buffer } = buffers.take(10, 10)
      return taken.some(one => one.buffer === buffer)
    })
    assert.equal(known.length, 1)
  })
})

describe('uploads in parts, while requests fail', () => {
  for (const provider of providers)
    it(`of ${provider} carry their own bytes, and none of other parts`, async () => {
      const transfer = { concurrency: 2, partBytes: 5 * MB }
      const cloud = await cloudOfTest(provider, provider === 's3' ? { s3: { transfer } } : {})
      const isPart = ({ method, body }: { method: string; body: Buffer }) => method === 'PUT' && body.length > MB
      const seen = new Set<string>()
      // Each second part is lost before it counts, once.
      cloud.meddle = (request, response, done) => {
        const part = `${request.line} ${request.headers['content-range']}`
        if (done || !isPart(request) || seen.has(part)) return false
        const isLost = seen.add(part).size % 2 === 0
        if (isLost) response.destroy()
        return isLost
      }
      const size = provider === 'gcs' ? 65 * MB : 33 * MB
      const sent = [1, 2].map(seed => Buffer.concat([Buffer.from([seed]), noise(size).subarray(seed)]))
      await Promise.all(sent.map((bytes, i) => cloud.store.put(`k${i}`, chunked(bytes, MB), never)))
      for (const [i, bytes] of sent.entries()) assert.ok(cloud.objects.get(`k${i}`)?.equals(bytes), `k${i}`)
    })
})

describe('the chunks of a body', () => {
  it('are all there, in order, and few', async () => {
    const sizes = fc.array(fc.oneof(fc.nat(3), fc.nat(200_000)), { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(sizes, async lengths => {
        const chunks = lengths.map((length, i) => Buffer.alloc(length, i + 1))
        const size = lengths.reduce((sum, length) => sum + length, 0)
        const body = (async function* () {
          yield* chunks
        })()
        const found = await gather({ size, body })
        assert.ok(Buffer.concat(found).equals(Buffer.concat(chunks)))
        // Of two that follow each other, one is at least 64 KiB.
        assert.ok(found.length <= 1 + 2 * (size / 65_536 + 1), `${found.length} chunks of ${size} bytes`)
      }),
    )
  })
})
