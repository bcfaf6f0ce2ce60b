/**
 * What is said about failures of the network. TLS is broken by real servers; what no server can be made to do is made
 * up.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createPlainServer, type Server } from 'node:http'
import { createServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import type { TlsOptions } from 'node:tls'
import { promisify } from 'node:util'
import type { Fault } from '../src/fault.ts'
import type { HttpClient } from '../src/stores/network/client.ts'
import { faultOfNetwork } from '../src/stores/network/faults.ts'
import { network } from '../src/stores/network/network.ts'
import { makeCertificate } from './support/fake-internet.ts'
import { never } from './support/store.suite.ts'

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  undo.push(() => {
    if ('closeAllConnections' in server) server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

function dispatcherTo(store: string, caFile: string | undefined, warn: (line: string) => void = () => {}): HttpClient {
  const limits = { connectTimeoutMs: 5000, maxConnections: 2 }
  const dispatcher = network({ ...limits, caFile, proxy: undefined, noProxy: [], store, info: () => {}, warn })
  undo.push(() => dispatcher.destroy())
  return dispatcher
}

async function faultOf(origin: string, caFile: string | undefined): Promise<Fault> {
  try {
    const { body } = await dispatcherTo(origin, caFile).request({ origin, path: '/', method: 'GET' })
    await body.bytes()
  } catch (error) {
    return faultOfNetwork(error, never)
  }
  return assert.fail('it succeeded')
}

describe('what is said about TLS', () => {
  let folder: string
  let files: { key: string; cert: string }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-faults-'))
    files = makeCertificate(folder, ['localhost'])
  })
  after(() => rmSync(folder, { recursive: true }))
  const serve = async (options: TlsOptions) => {
    const tls = { key: readFileSync(files.key), cert: readFileSync(files.cert), ...options }
    const server = createServer(tls, (_request, response) => response.end('ok'))
    return `https://127.0.0.1:${await listen(server as unknown as Server)}`
  }

  it('that the server does not speak it, where that is so', async () => {
    const port = await listen(createPlainServer((_request, response) => response.end('ok')))
    const fault = await faultOf(`https://127.0.0.1:${port}`, files.cert)
    assert.equal(fault.code, 'BadConfig')
    assert.match(fault.remedy, /does not speak TLS: write http:/)
  })

  it('that the server is too old', async () => {
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
    const fault = await faultOf(await serve(old), files.cert)
    assert.equal(fault.code, 'BadConfig')
    assert.match(fault.remedy, /TLS of this server is too old/)
  })

  it('that the server wants a certificate of ours', async () => {
    const strict = { requestCert: true, rejectUnauthorized: true, ca: readFileSync(files.cert) }
    const fault = await faultOf(await serve({ ...strict, maxVersion: 'TLSv1.2' }), files.cert)
    assert.equal(fault.code, 'BadConfig')
    assert.match(fault.remedy, /client certificate/)
    assert.match(fault.message, /^[\w/ ]*handshake failure$/)
  })

  it('that nobody trusts the certificate', async () => {
    assert.match((await faultOf(await serve({}), undefined)).remedy, /HttpsCACertificates/)
  })

  it('that the certificate is for another name', async () => {
    const other = makeCertificate(mkdtempSync(join(folder, 'other-')), [])
    const server = { key: readFileSync(other.key), cert: readFileSync(other.cert) }
    const fault = await faultOf((await serve(server)).replace('127.0.0.1', 'localhost'), other.cert)
    assert.match(fault.remedy, /for another name/)
  })

  for (const [code, message, expected, remedy] of [
    [
      'EPROTO',
      'write EPROTO 1:error:0A00010B:SSL routines:f:wrong version number:r.c:3:',
      'BadConfig',
      /does not speak TLS/,
    ],
    ['EPROTO', 'write EPROTO 1:error:0A000102:SSL routines:f:unsupported protocol:r.c:3:', 'BadConfig', /too old/],
    [
      'EPROTO',
      'write EPROTO 1:error:0A00042E:SSL routines:f:tlsv1 alert protocol version:r.c:3:',
      'BadConfig',
      /too old/,
    ],
    [
      'EPROTO',
      'write EPROTO 1:error:0A000410:SSL routines:f:sslv3 alert handshake failure:r.c:3:',
      'BadConfig',
      /no cipher in common/,
    ],
    [
      'EPROTO',
      'write EPROTO 1:error:0A000119:SSL routines:f:decryption failed or bad record mac:r.c:3:',
      'Unavailable',
      /^$/,
    ],
    ['EPROTO', 'write EPROTO', 'Unavailable', /^$/],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'alert', 'BadConfig', /client certificate/],
    ['ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR', 'alert', 'Unavailable', /^$/],
    ['CERT_NOT_YET_VALID', 'certificate is not yet valid', 'Unavailable', /clock is behind/],
    ['CERT_HAS_EXPIRED', 'certificate has expired', 'Denied', /expired/],
    ['HOSTNAME_MISMATCH', 'x', 'Denied', /another name/],
    ['CERT_CHAIN_TOO_LONG', 'x', 'Denied', /not trusted/],
    ['EADDRNOTAVAIL', 'connect EADDRNOTAVAIL', 'Unavailable', /descriptors, ports/],
    ['EMFILE', 'connect EMFILE', 'Unavailable', /descriptors, ports/],
    ['ENFILE', 'connect ENFILE', 'Unavailable', /descriptors, ports/],
    ['ENETDOWN', 'connect ENETDOWN', 'Unavailable', /no route to this host/],
    ['ECONNABORTED', 'connect ECONNABORTED', 'Unavailable', /^$/],
    ['UND_ERR_INVALID_ARG', 'invalid authorization header', 'BadConfig', /character that HTTP cannot carry/],
    ['ERR_ASSERTION', 'a defect of ours', 'Internal', /^$/],
  ] as const)
    it(`${code}: ${message} is ${expected}`, () => {
      const fault = faultOfNetwork(Object.assign(new Error(message), { code }), never)
      assert.equal(fault.code, expected)
      assert.equal(fault.retryable, expected === 'Unavailable')
      assert.match(fault.remedy, remedy)
    })

  it('of several addresses, what one said that could be reached', () => {
    const errors = ['ENETUNREACH', 'ECONNREFUSED'].map(code => Object.assign(new Error(`connect ${code}`), { code }))
    const all = Object.assign(new AggregateError(errors), { code: 'ENETUNREACH', message: '' })
    assert.match(faultOfNetwork(all, never).remedy, /Nothing listens there/)
  })
})

describe('what is said about an answer that is no HTTP', () => {
  for (const [what, answer, remedy] of [
    ['of a server for something else', 'SSH-2.0-OpenSSH_9.6\r\n\r\n', /does not speak HTTP/],
    ['of TLS', '\x16\x03\x01\x02\x00\x01', /does not speak HTTP/],
    ['without a status', 'HTTP/1.1 abc OK\r\n\r\n', /^$/],
    ['of another version', 'HTTP/9.1 200 OK\r\n\r\n', /^$/],
    ['with a length that is none', 'HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\n', /^$/],
    ['with a line that is no header', 'HTTP/1.1 200 OK\r\nbad header\r\n\r\n', /^$/],
    ['with a NUL in a header', 'HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n', /^$/],
    ['with a chunk that is none', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n', /^$/],
    ['with a head of a megabyte', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(1_000_000)}\r\n\r\n`, /^$/],
    ['with a status below 100', 'HTTP/1.1 050 OK\r\n\r\n', /^$/],
    ['that goes over to no protocol', 'HTTP/1.1 101 Switching Protocols\r\n\r\n', /^$/],
    [
      'that goes over to another protocol',
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
      /^$/,
    ],
  ] as const)
    it(`${what}: another try may help`, async () => {
      const server = createTcpServer(socket => {
        socket.on('error', () => {}).once('data', () => socket.end(answer, 'latin1'))
      })
      const { code, retryable, remedy: said } = await faultOf(`http://127.0.0.1:${await listen(server)}`, undefined)
      assert.deepEqual([code, retryable], ['Unavailable', true])
      assert.match(said, remedy)
    })
})

describe('authorities', () => {
  let folder: string
  let files: { key: string; cert: string }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-ca-'))
    files = makeCertificate(folder, [])
  })
  after(() => rmSync(folder, { recursive: true }))
  const serve = async () => {
    const server = createServer(
      { key: readFileSync(files.key), cert: readFileSync(files.cert) },
      (_request, response) => response.end('ok'),
    )
    return `https://127.0.0.1:${await listen(server as unknown as Server)}`
  }
  /** In a process of its own, because they are read only once. */
  const asks = async (origin: string, caFile: string | undefined, env: Record<string, string>) => {
    const script = `
      import { network } from ${JSON.stringify(join(import.meta.dirname, '..', 'src', 'stores', 'network', 'network.ts'))}
      const store = ${JSON.stringify(origin)}
      const limits = { connectTimeoutMs: 20000, maxConnections: 1 }
      const log = { info() {}, warn: line => console.log('WARNING ' + line) }
      const dispatcher = network({ ...limits, ...log, store, caFile: ${JSON.stringify(caFile)}, proxy: undefined, noProxy: [] })
      try {
        const answer = await dispatcher.request({ origin: store, path: '/', method: 'GET' })
        console.log(answer.statusCode, Buffer.from(await answer.body.bytes()).toString())
      } catch (error) {
        console.log(error.code)
      }
      await dispatcher.destroy()`
    const file = join(folder, 'ask.mjs')
    writeFileSync(file, script)
    const none = {
      SSL_CERT_FILE: '/dev/null',
      SSL_CERT_DIR: mkdtempSync(join(folder, 'none-')),
      NODE_EXTRA_CA_CERTS: '',
    }
    const { stdout } = await promisify(execFile)(process.execPath, [file], { env: { ...process.env, ...none, ...env } })
    return stdout.trim()
  }

  it('of the operating system are trusted', async () => {
    assert.equal(await asks(await serve(), undefined, { SSL_CERT_FILE: files.cert }), '200 ok')
  })

  it('of the operating system and of NODE_EXTRA_CA_CERTS are trusted beside those of HttpsCACertificates', async () => {
    const other = makeCertificate(mkdtempSync(join(folder, 'other-')), [])
    for (const name of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS'])
      assert.equal(await asks(await serve(), other.cert, { [name]: files.cert }), '200 ok', name)
    assert.equal(await asks(await serve(), files.cert, {}), '200 ok')
  })

  it('of nobody are not, whatever the environment says', async () => {
    for (const env of [{}, { NODE_TLS_REJECT_UNAUTHORIZED: '0' }] as const)
      assert.equal(await asks(await serve(), undefined, env), 'DEPTH_ZERO_SELF_SIGNED_CERT')
  })

  for (const [what, content] of [
    ['that is missing', undefined],
    ['that holds no certificate', 'hello'],
    ['that is garbled', '-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n'],
  ] as const) {
    const path = () => {
      const file = join(folder, 'named.pem')
      rmSync(file, { force: true })
      if (content !== undefined) writeFileSync(file, content)
      return file
    }
    it(`of a file ${what}: a WARNING, and the others are trusted all the same`, async () => {
      const said = await asks(await serve(), path(), { SSL_CERT_FILE: files.cert })
      assert.match(said, /^WARNING HttpsCACertificates cannot be used .*install the package ca-certificates.*\n200 ok$/)
    })

    it(`of a file ${what}: nobody asks without TLS`, async () => {
      const port = await listen(createPlainServer((_request, response) => response.end('ok')))
      assert.equal(await asks(`http://127.0.0.1:${port}`, path(), {}), '200 ok')
    })
  }
})
