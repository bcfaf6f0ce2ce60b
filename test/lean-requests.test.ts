/** Requests to a store over connections of our own: what goes out, and how they end. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, it } from 'node:test'
import { until } from '../harness/until.ts'
import type { HttpRequest } from '../src/stores/network/client.ts'
import type { Dial } from '../src/stores/network/lean/link.ts'
import { ask, code, dialTo, get, linksTo, OK, ok, serve } from './support/bare-server.ts'

describe('a request', () => {
  for (const [what, request] of [
    ['a line end in a header', { headers: { x: 'a\r\nb: c' } }],
    ['a line end in the name of a header', { headers: { 'x\r\nb': 'c' } }],
    ['a character beyond latin1', { headers: { x: '\u200b' } }],
    ['a NUL in a header', { headers: { x: '\0' } }],
    ['a space in the path', { path: '/a b' }],
    ['a line end in the path', { path: '/a\r\nx: y' }],
  ] as const)
    it(`with ${what} is refused before it takes a connection`, async () => {
      const { port, sockets } = await serve(ok)
      await assert.rejects(ask(linksTo(port), { ...get, ...request }), code('UND_ERR_INVALID_ARG'))
      assert.equal(sockets.length, 0)
    })

  it('whose length is not that of its body is refused', async () => {
    const { port, sockets } = await serve(ok)
    for (const body of ['abc', Buffer.from('abc'), undefined])
      await assert.rejects(
        ask(linksTo(port), { ...get, method: 'PUT', ...(body && { body }), headers: { 'content-length': '4' } }),
        code('UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'),
      )
    assert.equal(sockets.length, 0)
  })

  it('goes out as it was given', async () => {
    const { port, heads } = await serve(ok)
    const links = linksTo(port)
    await ask(links, { ...get, headers: { x: 'ü', range: 'bytes=0-1' } })
    await ask(links, {
      ...get,
      origin: 'https://[::1]:9000',
      method: 'PUT',
      body: 'abc',
      headers: { 'content-length': '3' },
    })
    assert.deepEqual(heads, [
      'GET /k HTTP/1.1\r\nhost: h\r\nconnection: keep-alive\r\nx: ü\r\nrange: bytes=0-1',
      'PUT /k HTTP/1.1\r\nhost: [::1]:9000\r\nconnection: keep-alive\r\ncontent-length: 3',
    ])
  })

  const gone = new Error('not wanted')
  for (const [when, says] of [
    ['before its head came', () => {}],
    ['in the middle of the head', (socket: Socket) => void socket.write('HTTP/1.1 200 OK\r\n')],
  ] as const)
    it(`that is aborted ${when} lets go of its connection`, async () => {
      const { port, sockets, heads } = await serve(says)
      const links = linksTo(port)
      const abort = new AbortController()
      const asked = ask(links, { ...get, signal: abort.signal })
      await until('the request', () => heads.length === 1)
      abort.abort(gone)
      await assert.rejects(asked, gone)
      await once(sockets[0] as Socket, 'close')
    })

  it('that is aborted in the middle of the body lets go of its connection', async () => {
    const { port, sockets } = await serve(
      socket => void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc'),
    )
    const abort = new AbortController()
    const { body } = await linksTo(port).request({ ...get, signal: abort.signal })
    const read = body.bytes()
    abort.abort(gone)
    await assert.rejects(read, gone)
    await once(sockets[0] as Socket, 'close')
  })

  it('that is aborted while it waits for a connection leaves the queue', async () => {
    const { port, sockets } = await serve(() => {})
    const links = linksTo(port, { maxConnections: 1 })
    const first = ask(links)
    const abort = new AbortController()
    const second = ask(links, { ...get, signal: abort.signal })
    abort.abort(gone)
    await assert.rejects(second, gone)
    await until('the connection', () => sockets.length === 1)
    ok(sockets[0] as Socket)
    assert.deepEqual(await first, [200, 'ok'])
  })

  it('that is aborted while its connection is made leaves none', async () => {
    const abort = new AbortController()
    const { port, sockets } = await serve(ok)
    let dialed: Socket | undefined
    const dial: Dial = (onread, done) => {
      dialed = dialTo(port)(onread, error => {
        if (error) done(error)
      })
      return dialed
    }
    const links = linksTo(port, { dial, maxConnections: 1 })
    const asked = ask(links, { ...get, signal: abort.signal })
    await until('the connection', () => sockets.length === 1)
    abort.abort(gone)
    await assert.rejects(asked, gone)
    assert.ok(dialed?.destroyed)
  })

  it('whose signal was aborted before is not sent', async () => {
    const { port, sockets } = await serve(ok)
    await assert.rejects(ask(linksTo(port), { ...get, signal: AbortSignal.abort(gone) }), gone)
    assert.equal(sockets.length, 0)
  })

  it('that gets no head in time, or no more of the body, fails', async () => {
    const { port } = await serve((socket, head) => {
      if (head.startsWith('GET /body')) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc')
    })
    const limits = { headersTimeout: 30, bodyTimeout: 30 }
    await assert.rejects(ask(linksTo(port), { ...get, ...limits }), code('UND_ERR_HEADERS_TIMEOUT'))
    await assert.rejects(
      ask(linksTo(port), { ...get, path: '/body', ...limits, headersTimeout: 60_000 }),
      code('UND_ERR_BODY_TIMEOUT'),
    )
  })

  it('whose store is closed fails, whether it waits, connects or runs; and none comes after it', async () => {
    const { port, heads } = await serve(() => {})
    const links = linksTo(port, { maxConnections: 1 })
    const asked = [ask(links), ask(links)]
    await until('the request', () => heads.length === 1)
    await links.destroy(gone)
    for (const one of asked) await assert.rejects(one, gone)
    await assert.rejects(ask(links), code('UND_ERR_DESTROYED'))
    const connecting = linksTo(port, { dial: () => undefined })
    const never = ask(connecting)
    await connecting.destroy(gone)
    await assert.rejects(never, gone)
  })

  it('whose answer nobody reads stops the server, and goes on when somebody does', async () => {
    const size = 64 * 1024 * 1024
    const piece = Buffer.alloc(1024 * 1024, 'x')
    let full = false
    const send = async (socket: Socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`)
      for (let at = 0; at < size; at += piece.byteLength)
        if (!socket.write(piece)) {
          full = true
          await once(socket, 'drain')
        }
    }
    const { port, sockets } = await serve(socket => void send(socket))
    const { body } = await linksTo(port).request(get)
    await until('the server to be stopped', () => full)
    let seen = 0
    for await (const chunk of body) {
      seen += chunk.byteLength
      // What is in flight: the server's and our kernel buffers, and what waits here.
      assert.ok((sockets[0]?.bytesWritten ?? 0) - seen < 32 * 1024 * 1024)
    }
    assert.equal(seen, size)
  })

  it('whose answer is dropped closes its connection, and one that is complete keeps it', async () => {
    const { port, sockets } = await serve((socket, head) => {
      socket.write(head.startsWith('GET /long') ? 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc' : OK)
    })
    const links = linksTo(port, { maxConnections: 1 })
    const long = await links.request({ ...get, path: '/long' })
    long.body.destroy()
    await once(sockets[0] as Socket, 'close')
    await (await links.request(get)).body.dump()
    for await (const chunk of (await links.request(get)).body) {
      assert.equal(chunk.byteLength, 2)
      break
    }
    assert.deepEqual(await ask(links), [200, 'ok'])
    assert.equal(sockets.length, 2)
  })
})

describe('an upload', () => {
  const pieces = (count: number, size: number, done: () => void = () => {}) =>
    (async function* () {
      try {
        for (let i = 0; i < count; i++) yield Buffer.alloc(size, 'x')
      } finally {
        done()
      }
    })()
  const put = (size: number, body: HttpRequest['body']): HttpRequest => ({
    ...get,
    method: 'PUT',
    ...(body && { body }),
    headers: { 'content-length': String(size) },
  })
  const MB = 1024 * 1024

  it('of many pieces arrives whole, however slow the server is', async () => {
    let got = 0
    const { port } = await serve(socket => {
      socket.on('data', data => {
        got += data.byteLength
        if (got > 2 * MB) ok(socket)
        else {
          socket.pause()
          setImmediate(() => socket.resume())
        }
      })
    })
    assert.deepEqual(await ask(linksTo(port), put(3 * MB, pieces(3, MB))), [200, 'ok'])
  })

  it('that the server refuses before its end gets the answer, and its source is let go', async () => {
    let ended = false
    const { port, sockets } = await serve(socket => {
      socket.pause()
      socket.write('HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno')
    })
    const body = pieces(1_000_000, MB, () => {
      ended = true
    })
    const links = linksTo(port)
    assert.deepEqual(await ask(links, put(1_000_000 * MB, body)), [413, 'no'])
    await until('the source to be let go', () => ended)
    sockets[0]?.resume()
    await once(sockets[0] as Socket, 'close')
  })

  for (const [what, count] of [
    ['shorter', 1],
    ['longer', 3],
  ] as const)
    it(`that turns out ${what} than announced fails, and its connection serves no more`, async () => {
      const { port, sockets } = await serve(() => {})
      await assert.rejects(ask(linksTo(port), put(20, pieces(count, 10))), code('UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'))
      await once(sockets[0] as Socket, 'close')
    })

  it('whose source fails rejects with that', async () => {
    const broken = new Error('the disk is gone')
    const { port, sockets } = await serve(() => {})
    const body = (async function* () {
      yield Buffer.from('x')
      throw broken
    })()
    await assert.rejects(ask(linksTo(port), put(20, body)), broken)
    await once(sockets[0] as Socket, 'close')
  })

  it('that the server takes nothing of fails in time', async () => {
    const { port } = await serve(socket => socket.pause())
    const request = { ...put(1_000 * MB, pieces(1_000, MB)), headersTimeout: 50 }
    await assert.rejects(ask(linksTo(port), request), code('UND_ERR_HEADERS_TIMEOUT'))
  })

  it('whose source is slow has all the time it needs', async () => {
    const { port } = await serve(socket => {
      socket.on('data', data => data.includes('end') && ok(socket))
    })
    const body = (async function* () {
      yield Buffer.from('begin')
      await new Promise(resolve => setTimeout(resolve, 150))
      yield Buffer.from('end')
    })()
    assert.deepEqual(await ask(linksTo(port), { ...put(8, body), headersTimeout: 50 }), [200, 'ok'])
  })

  it('that is aborted lets go of connection and source', async () => {
    const { port, sockets } = await serve(socket => socket.pause())
    const abort = new AbortController()
    const gone = new Error('not wanted')
    let ended = false
    const body = pieces(1_000, MB, () => {
      ended = true
    })
    const asked = ask(linksTo(port), { ...put(1_000 * MB, body), signal: abort.signal })
    await until('the connection', () => sockets.length === 1)
    abort.abort(gone)
    await assert.rejects(asked, gone)
    await until('the source to be let go', () => ended)
  })
})
