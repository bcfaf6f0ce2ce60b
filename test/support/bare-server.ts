/** Servers that are sockets and nothing else, and connections of our own to them. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { HttpRequest } from '../../src/stores/network/client.ts'
import type { Dial } from '../../src/stores/network/lean/link.ts'
import { Links, type LinksOptions } from '../../src/stores/network/lean/links.ts'
import { undo } from './undo.ts'

export const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

export type Says = (socket: Socket, head: string, nth: number) => void

/** Calls `says` for each head of a request that comes; `nth`: of the connection, from 1. */
export async function serve(says: Says, server: Server = createServer()) {
  const sockets: Socket[] = []
  const heads: string[] = []
  server.on('setSecureContext' in server ? 'secureConnection' : 'connection', (socket: Socket) => {
    const nth = sockets.push(socket)
    let text = ''
    /** Of the body of a request, which nobody looks at. */
    let left = 0
    const pass = () => {
      const passed = Math.min(left, text.length)
      left -= passed
      text = text.slice(passed)
    }
    socket
      .on('error', () => {})
      .on('data', data => {
        text += data.toString('latin1')
        pass()
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          const head = text.slice(0, end)
          text = text.slice(end + 4)
          left = Number(/content-length: (\d+)/.exec(head)?.[1] ?? 0)
          pass()
          heads.push(head)
          says(socket, head, nth)
        }
      })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  undo.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { port, origin: `http://127.0.0.1:${port}`, sockets, heads }
}

export const dialTo =
  (port: number): Dial =>
  (onread, done) =>
    connect({ port, host: '127.0.0.1', onread: onread as never })
      .once('connect', function (this: Socket) {
        done(null, this)
      })
      .once('error', error => done(error))

export function linksTo(port: number, more: Partial<LinksOptions> = {}): Links {
  const links = new Links({ dial: dialTo(port), maxConnections: 2, idleMs: 60_000, ...more })
  undo.push(() => links.destroy())
  return links
}

export const get: HttpRequest = { origin: 'http://h', path: '/k', method: 'GET' }
export async function ask(links: Links, request: HttpRequest = get) {
  const { statusCode, body } = await links.request(request)
  return [statusCode, Buffer.from(await body.bytes()).toString('latin1')] as const
}
export const code = (wanted: string) => (error: Error & { code?: string }) => error.code === wanted
export const ok = (socket: Socket) => void socket.write(OK)
