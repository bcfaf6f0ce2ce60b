/** A server a round trip away: a proxy that holds each request back for a moment, and remembers what was read. */

import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Far enough that files are read ahead. No test depends on how long it is. */
const AWAY_MS = 20

export interface FarStore {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string
  /** Paths of objects, in the order in which they were read. */
  readonly reads: string[]
  /** Most reads at a time. */
  mostReads: number
  /** Forgets what was read. */
  forget(): void
  stop(): Promise<void>
}

export async function farStore(endpoint: string): Promise<FarStore> {
  const { hostname, port } = new URL(endpoint)
  let underWay = 0
  const server = createServer((asked, answered) => {
    const { method, url: path = '', headers } = asked
    const isRead = method === 'GET' && !path.includes('orthanc-cloud-storage-check')
    if (isRead) {
      far.reads.push(path)
      far.mostReads = Math.max(far.mostReads, ++underWay)
      answered.on('close', () => underWay--)
    }
    // The signature is over the host that the client asked, so all headers go on as they are.
    const passed = request({ hostname, port, method, path, headers, agent: false }, answer => {
      answered.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(answered)
    })
    passed.on('error', () => answered.destroy())
    answered.on('close', () => passed.destroy())
    setTimeout(() => asked.pipe(passed), AWAY_MS)
  })
  server.keepAliveTimeout = 0 // it closes no connection that a request may be on its way to
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const far: FarStore = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reads: [],
    mostReads: 0,
    forget() {
      far.reads.length = 0
      far.mostReads = 0
    },
    async stop() {
      server.close()
      server.closeAllConnections()
    },
  }
  return far
}
