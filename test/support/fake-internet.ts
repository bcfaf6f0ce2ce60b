/**
 * The clouds' own hosts, as seen from a corporate network: every connection goes through a proxy and ends at one
 * scripted server, whose certificate only a CA file makes trusted. A stub, because what is tested is which host is
 * asked for what.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Visit {
  readonly host: string
  readonly line: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export interface FakeInternet {
  /** For HttpProxy. */
  readonly proxy: string
  /** For HttpsCACertificates. */
  readonly caFile: string
  /** Where the server itself listens, on 127.0.0.1. */
  readonly port: number
  readonly folder: string
  readonly visits: Visit[]
  /** What the proxy was asked to connect to, with the secret it was given. */
  readonly connects: { readonly to: string; readonly secret: string | undefined }[]
  /** What the proxy says instead of connecting; undefined = it connects. */
  refusal: number | undefined
  /** Ends all connections. */
  hangUp(): void
  stopServing(): Promise<void>
  close(): Promise<void>
}

export async function fakeInternet(
  hosts: readonly string[],
  answer: (visit: Visit, response: ServerResponse) => void,
): Promise<FakeInternet> {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-internet-'))
  const { key, cert } = makeCertificate(folder, hosts)
  const visits: Visit[] = []
  const connects: FakeInternet['connects'] = []
  const sockets = new Set<Socket>()
  const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { headers } = request
    const visit = { host: String(headers.host), line: `${request.method} ${request.url}`, headers, body }
    visits.push(visit)
    answer(visit, response)
  })
  const proxy = createServer()
  proxy.on('connect', (request, socket) => {
    connects.push({ to: String(request.url), secret: request.headers['proxy-authorization'] })
    if (internet.refusal !== undefined) return socket.end(`HTTP/1.1 ${internet.refusal} No\r\n\r\n`)
    const there = connect((server.address() as AddressInfo).port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
    })
    there.pipe(socket as Socket).pipe(there)
    for (const end of [there, socket as Socket]) {
      sockets.add(end)
      end.on('error', () => {})
    }
    return socket
  })
  for (const one of [server, proxy]) await new Promise<void>(resolve => one.listen(0, '127.0.0.1', resolve))
  const internet: FakeInternet = {
    proxy: `127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    caFile: cert,
    port: (server.address() as AddressInfo).port,
    folder,
    visits,
    connects,
    refusal: undefined,
    hangUp() {
      for (const socket of sockets) socket.destroy()
      server.closeAllConnections()
    },
    async stopServing() {
      const stopped = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await stopped
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      for (const one of [server, proxy]) {
        one.closeAllConnections()
        one.close()
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return internet
}

/** Self-signed, for all of `hosts` and 127.0.0.1. */
export function makeCertificate(folder: string, hosts: readonly string[]): { key: string; cert: string } {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const names = [...hosts.map(host => `DNS:${host}`), 'IP:127.0.0.1'].join(',')
  const name = ['-subj', '/CN=test', '-addext', `subjectAltName=${names}`]
  const files = ['-keyout', key, '-out', cert]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...files, ...name], {
    stdio: 'ignore',
  })
  return { key, cert }
}

/** For the time of `work`. */
export async function withEnvironment(variables: Record<string, string>, work: () => Promise<void>): Promise<void> {
  Object.assign(process.env, variables)
  try {
    await work()
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name]
  }
}
