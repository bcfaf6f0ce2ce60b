/**
 * TLS that is damaged or cut on its way: by a proxy that knows nothing of what passes, so the records themselves are
 * hit.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import type { Store } from '../src/stores/store.ts'
import { makeCertificate } from './support/fake-internet.ts'
import { reset } from './support/reset.ts'
import { fail, get, give, MB, open, type Script, scripted, take } from './support/scripted.ts'
import { never, noise } from './support/store.suite.ts'

const BODY = noise(3 * MB)

/** What becomes of one record of TLS. */
type Harm = (record: Buffer, ends: readonly Socket[]) => Buffer | undefined
const flip = (record: Buffer, at: number) => {
  const other = Buffer.from(record)
  other[at] = (other[at] as number) ^ 1
  return other
}
const harms: Readonly<Record<string, Harm>> = {
  'a byte changes': record => flip(record, record.length >> 1),
  'the version in the head of a record changes': record => flip(record, 1),
  'a record is missing': () => undefined,
  'plain HTTP comes in place of a record': () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
  'the connection ends without a word of TLS': (_, ends) => {
    for (const end of ends) end.end()
    return undefined
  },
  'the connection is reset': (_, ends) => {
    for (const end of ends) reset(end)
    return undefined
  },
}

/** The records of TLS in what a socket sends. */
async function* recordsOf(socket: Socket): AsyncGenerator<Buffer> {
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of socket) {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 5 && pending.length >= 5 + pending.readUInt16BE(3)) {
      const end = 5 + pending.readUInt16BE(3)
      yield pending.subarray(0, end)
      pending = pending.subarray(end)
    }
  }
}

describe('TLS on its way', () => {
  let folder: string
  let cert: string
  let script: Script
  const secure = { port: 0, close: () => {} }
  /** How many connections are still to be harmed, where, and how. */
  let harm: { left: number; from: 'client' | 'server'; at: number; how: Harm } | undefined
  let store: Store

  const proxy = createServer(near => {
    const far = dial(secure.port, '127.0.0.1')
    const one = harm && harm.left-- > 0 ? harm : undefined
    const pass = async (from: Socket, to: Socket, mine: typeof one) => {
      let [at, done] = [0, false]
      try {
        for await (const record of recordsOf(from)) {
          at += record.byteLength
          const hit = mine && !done && at > mine.at
          const passed = hit ? mine.how(record, [near, far]) : record
          done ||= hit === true
          if (passed && to.writable) to.write(passed)
        }
      } catch {
        // one of the two has gone
      }
      to.destroy()
    }
    for (const end of [near, far]) end.on('error', () => {})
    void pass(near, far, one?.from === 'client' ? one : undefined)
    void pass(far, near, one?.from === 'server' ? one : undefined)
  })

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-tls-'))
    const files = makeCertificate(folder, [])
    cert = files.cert
    const server = createSecureServer(
      { key: readFileSync(files.key), cert: readFileSync(cert) },
      scripted((...all) => script(...all)).listener,
    )
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
    secure.port = (server.address() as AddressInfo).port
    secure.close = () => {
      server.closeAllConnections()
      server.close()
      proxy.close()
    }
  })
  after(() => {
    secure.close()
    rmSync(folder, { recursive: true })
  })

  for (const [what, how] of Object.entries(harms)) {
    it(`${what} in the middle of an object: it is read again, and is right`, async () => {
      script = (request, response) => give(BODY, request, response)
      const endpoint = `https://127.0.0.1:${(proxy.address() as AddressInfo).port}`
      store = open({ endpoint }, { caFile: cert })
      harm = { left: 2, from: 'server', at: 200_000, how }
      assert.ok((await get(store)).equals(BODY))
      assert.ok(harm.left <= 0, 'connections were harmed')
    })

    it(`${what} in the middle of a write: it is written again`, async () => {
      const got: Buffer[] = []
      script = (request, response) => {
        if (!request.line.startsWith('PUT')) return void fail(response, 404, 'NoSuchKey')
        got.push(request.body)
        take(request, response)
      }
      const endpoint = `https://127.0.0.1:${(proxy.address() as AddressInfo).port}`
      store = open({ endpoint }, { caFile: cert })
      harm = { left: 1, from: 'client', at: 200_000, how }
      await store.put('k', sourceOf(BODY), never)
      assert.ok(got.at(-1)?.equals(BODY))
      assert.ok(harm.left <= 0, 'a connection was harmed')
    })
  }
})
