/** Connections of our own to a store: how many there are, how long they live, and what they are trusted with. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createServer as createSecureServer, type TLSSocket } from 'node:tls'
import type { Dial } from '../src/stores/network/lean/link.ts'
import { network } from '../src/stores/network/network.ts'
import { ask, code, dialTo, get, linksTo, OK, ok, serve } from './support/bare-server.ts'
import { makeCertificate } from './support/fake-internet.ts'
import { undo } from './support/undo.ts'

describe('connections to a store', () => {
  it('serve one request after the other', async () => {
    const { port, sockets } = await serve(ok)
    const links = linksTo(port)
    for (let i = 0; i < 5; i++) assert.deepEqual(await ask(links), [200, 'ok'])
    assert.equal(sockets.length, 1)
  })

  it('are no more than allowed, and requests wait their turn for them', async () => {
    const asking: Socket[] = []
    const { port, sockets } = await serve(socket => {
      if (asking.push(socket) === 2) asking.splice(0).forEach(ok)
    })
    const links = linksTo(port)
    const all = await Promise.all(Array.from({ length: 20 }, () => ask(links)))
    assert.ok(all.every(([status]) => status === 200))
    assert.equal(sockets.length, 2)
  })

  it('that break make room for the requests that wait', async () => {
    const { port } = await serve((socket, _head, nth) => (nth <= 2 ? socket.destroy() : ok(socket)))
    const links = linksTo(port, { maxConnections: 1 })
    const all = await Promise.allSettled(Array.from({ length: 4 }, () => ask(links)))
    assert.deepEqual(
      all.map(one => one.status),
      ['rejected', 'rejected', 'fulfilled', 'fulfilled'],
    )
  })

  it('that cannot be made fail each request that waits, and leave room', async () => {
    const { port } = await serve(ok)
    let broken = true
    const dial: Dial = (onread, done) => {
      if (!broken) return dialTo(port)(onread, done)
      setImmediate(() => done(Object.assign(new Error('no'), { code: 'ECONNREFUSED' })))
      return undefined
    }
    const links = linksTo(port, { dial, maxConnections: 1 })
    for (const one of await Promise.allSettled([ask(links), ask(links), ask(links)]))
      assert.equal(one.status === 'rejected' && one.reason.code, 'ECONNREFUSED')
    broken = false
    assert.deepEqual(await ask(links), [200, 'ok'])
  })

  it('are closed when they were idle for long', async () => {
    const { port, sockets } = await serve(ok)
    const links = linksTo(port, { idleMs: 20 })
    await ask(links)
    await once(sockets[0] as Socket, 'close')
    assert.deepEqual(await ask(links), [200, 'ok'])
    assert.equal(sockets.length, 2)
  })

  it('are not used again after bytes that nobody asked for', async () => {
    const { port, sockets } = await serve(ok)
    const links = linksTo(port)
    await ask(links)
    ok(sockets[0] as Socket)
    await once(sockets[0] as Socket, 'close')
    assert.deepEqual(await ask(links), [200, 'ok'])
  })

  it('on which the server speaks first are refused', async () => {
    const server = createServer(socket => socket.write(OK))
    const { port } = await serve(() => {}, server)
    const dial: Dial = (onread, done) => {
      const callback = (bytes: number) => {
        const more = onread.callback(bytes)
        done(null, socket)
        return more
      }
      const socket: Socket = dialTo(port)({ ...onread, callback }, () => {}) as Socket
      return socket
    }
    await assert.rejects(ask(linksTo(port, { dial })), code('HPE_INVALID'))
  })

  for (const [method, body, again] of [
    ['GET', undefined, true],
    ['DELETE', undefined, false],
    ['PUT', 'x', false],
  ] as const)
    it(`that died while they were idle: a ${method} is ${again ? 'sent once more, on a new one' : 'not sent twice'}`, async () => {
      let asked = 0
      const { port, heads } = await serve((socket, _head, nth) => {
        // The connection is closed just when the second request comes.
        if (++asked === 2) socket.destroy()
        else socket.write(OK)
        assert.ok(nth <= 2)
      })
      const links = linksTo(port)
      await ask(links)
      const second = ask(links, { ...get, method, ...(body ? { body, headers: { 'content-length': '1' } } : {}) })
      if (again) assert.deepEqual(await second, [200, 'ok'])
      else await assert.rejects(second)
      assert.equal(heads.length, again ? 3 : 2)
    })

  it('that die again and again: a GET is sent no third time', async () => {
    let asked = 0
    const { port, heads } = await serve(socket => (++asked === 1 ? ok(socket) : socket.destroy()))
    const links = linksTo(port)
    await ask(links)
    await assert.rejects(ask(links))
    assert.equal(heads.length, 3)
  })

  it('whose answer has begun are lost with it: the caller learns it', async () => {
    let asked = 0
    const { port, heads } = await serve(socket => (++asked === 1 ? ok(socket) : socket.end('HTTP/1.1 2')))
    const links = linksTo(port)
    await ask(links)
    await assert.rejects(ask(links), code('UND_ERR_SOCKET'))
    assert.equal(heads.length, 2)
  })

  it('are closed after HEAD, because some servers send a body with it', async () => {
    const { port, sockets } = await serve(socket => void socket.write(OK))
    const links = linksTo(port)
    assert.deepEqual(await ask(links, { ...get, method: 'HEAD' }), [200, ''])
    assert.deepEqual(await ask(links), [200, 'ok'])
    assert.equal(sockets.length, 2)
  })

  it('over TLS go on with the session of the one before', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-lean-'))
    undo.push(() => rmSync(folder, { recursive: true }))
    const files = makeCertificate(folder, ['localhost'])
    const server = createSecureServer({ key: readFileSync(files.key), cert: readFileSync(files.cert) })
    const reused: boolean[] = []
    const { port } = await serve(socket => {
      reused.push((socket as TLSSocket).isSessionReused())
      socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 300000\r\n\r\n${'x'.repeat(300_000)}`)
    }, server)
    const origin = `https://localhost:${port}`
    const ways = { caFile: files.cert, proxy: undefined, noProxy: [], store: origin, info() {}, warn() {} }
    const client = network({ ...ways, connectTimeoutMs: 60_000, maxConnections: 1 })
    undo.push(() => client.destroy())
    for (let i = 0; i < 3; i++) {
      const { body } = await client.request({ ...get, origin })
      assert.equal((await body.bytes()).byteLength, 300_000)
    }
    assert.deepEqual(reused, [false, true, true])
  })
})
