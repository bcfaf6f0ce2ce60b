/** What the check at start finds out about CRC-32 on S3, and that it leaves nothing. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../src/stores/digest.ts'
import type { Asked, Manners } from './support/checksum-server.ts'
import { CRC, LARGE, MB, puts, readBack, SMALL, started } from './support/checksum-store.ts'
import { chunked, never } from './support/store.suite.ts'

describe('the check of CRC-32', () => {
  for (const [how, manners] of [
    ['verifies it', {}],
    ['ignores it', { crc: 'ignores' }],
    ['does not tell it', { crc: 'mute' }],
    ['stores the framing', { trailer: 'stores the framing' }],
    ['keeps the encoding', { trailer: 'keeps the encoding' }],
    ['refuses the framing', { trailer: 'refuses' }],
    ['keeps versions', { versions: 'kept' }],
    ['keeps versions and ignores it', { versions: 'kept', crc: 'ignores' }],
    ['does not say whether it keeps versions', { versions: 'may not be asked' }],
  ] as const satisfies readonly (readonly [string, Manners])[])
    it(`leaves nothing on a server that ${how}, and writes work`, async () => {
      const { store, objects, hidden, warnings, since } = await started(manners)
      assert.deepEqual([objects.size, hidden, warnings], [0, [], []])
      for (const [key, bytes] of [
        ['small', SMALL],
        ['large', LARGE],
      ] as const) {
        await store.put(key, chunked(bytes, MB), never)
        assert.ok(objects.get(key)?.bytes.equals(bytes))
        assert.equal(objects.get(key)?.encoding, undefined)
        assert.ok((await readBack(store, key)).equals(bytes))
      }
      const [small, large] = puts(since()) as [Asked, Asked]
      const proves = !('crc' in manners)
      assert.equal(small.headers[CRC] !== undefined, proves)
      assert.equal(
        large.headers['x-amz-trailer'] !== undefined,
        proves && !('trailer' in manners) && !('versions' in manners),
      )
    })

  const refusals = {
    'refuses the header with 400': [400, 'InvalidRequest'],
    'refuses the header with another 400': [400, 'InvalidArgument'],
    'does not implement it': [501, 'NotImplemented'],
    'is broken by it': [500, 'InternalError'],
    'forbids it': [403, 'AccessDenied'],
  } as const
  for (const [how, [status, code]] of Object.entries(refusals))
    it(`makes nothing of a server that ${how}`, async () => {
      const opened = await started({}, {}, { purpose: 'look' })
      opened.state.interfere = ({ headers }, response) => {
        if (headers[CRC] === undefined && headers['x-amz-trailer'] === undefined) return false
        response.writeHead(status, { 'x-amz-request-id': 'R' }).end(`<Error><Code>${code}</Code></Error>`)
        return true
      }
      await opened.store.check(never)
      await opened.store.put('k', chunked(SMALL), never)
      assert.equal(puts(opened.since()).at(-1)?.headers['content-md5'], digestOf('md5', SMALL))
      assert.match(opened.lines.join('\n'), /sent with Content-MD5: (its answer|what was written)/)
    })

  it('takes InvalidRequest for a proof where a right one is taken, and read back', async () => {
    const opened = await started({}, {}, { purpose: 'look' })
    opened.state.interfere = ({ headers, body }, response) => {
      if (headers[CRC] === undefined || headers[CRC] === digestOf('crc32', body)) return false
      response.writeHead(400, { 'x-amz-request-id': 'R' }).end('<Error><Code>InvalidRequest</Code></Error>')
      return true
    }
    await opened.store.check(never)
    assert.match(opened.lines.join('\n'), /which this server verifies/)
  })

  it("takes no stranger's 200 for a proof", async () => {
    const opened = await started({}, {}, { purpose: 'look' })
    opened.state.interfere = ({ method, headers }, response) => {
      if (method !== 'PUT' || headers['content-md5'] !== undefined) return false
      response.writeHead(200, { 'content-type': 'text/html', [CRC]: String(headers[CRC]) }).end('<title>terms</title>')
      return true
    }
    await opened.store.check(never)
    opened.state.interfere = () => false
    await opened.store.put('k', chunked(SMALL), never)
    assert.equal(puts(opened.since()).at(-1)?.headers[CRC], undefined)
  })

  it("does not take another Orthanc's object of the same check for its own", async () => {
    const opened = await started({}, {}, { purpose: 'look' })
    const other = Buffer.from('orthanc-cloud-storage 01234567-89ab-cdef-0123-456789abcdef')
    opened.state.interfere = ({ method, key, query }) => {
      const mine = opened.objects.get(key)
      // As if the other had written right after this one.
      if (method === 'GET' && key === 'probe' && !query.has('versioning') && mine)
        opened.objects.set(key, { ...mine, bytes: other, crc32: digestOf('crc32', other) })
      return false
    }
    await opened.store.check(never)
    assert.match(opened.lines.join('\n'), /did not come back/)
  })

  for (const trailer of ['verifies', 'stores the framing'] as const)
    it(`that was broken off leaves an object which the next one knows and removes (${trailer})`, async () => {
      const opened = await started({ trailer }, {}, { purpose: 'look' })
      const died = new AbortController()
      opened.state.interfere = ({ method, key, query }) => {
        if (method === 'GET' && key === 'probe' && !query.has('versioning') && opened.objects.size > 0) died.abort()
        return died.signal.aborted
      }
      await assert.rejects(opened.store.check(died.signal))
      assert.equal(opened.objects.size, 1)
      opened.state.interfere = () => false
      await opened.store.check(never, { purpose: 'status' })
      await opened.store.check(never)
      assert.equal(opened.objects.size, 0)
    })

  it('says when a version stays that it could not remove', async () => {
    const opened = await started({ crc: 'ignores', versions: 'kept' }, {}, { purpose: 'look' })
    opened.state.interfere = ({ query }, response) => {
      if (!query.has('versionId')) return false
      response.writeHead(403, { 'x-amz-request-id': 'R' }).end('<Error><Code>AccessDenied</Code></Error>')
      return true
    }
    const warnings: string[] = []
    await opened.store.check(never, { warn: line => warnings.push(line) })
    assert.match(warnings.join('\n'), /wrote a version of 'probe' .* could not remove it/)
  })

  it('ends with the check of which it is a part, and without it when a server does not answer', async context => {
    const opened = await started({}, {}, { purpose: 'look' })
    context.mock.method(AbortSignal, 'timeout', () => AbortSignal.abort(new DOMException('late', 'TimeoutError')))
    await opened.store.check(never)
    context.mock.restoreAll()
    assert.match(opened.lines.join('\n'), /sent with Content-MD5: its answer/)
  })
})
