/**
 * Which way requests go, and what is said when the way is the fault. The proxy is a real one; what it leads to is a
 * stub.
 */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { collect } from '../src/bytes.ts'
import type { Fault } from '../src/fault.ts'
import type { ConnectionOptions, Environment } from '../src/stores/http/options.ts'
import type { HttpClient } from '../src/stores/network/client.ts'
import { Names } from '../src/stores/network/names.ts'
import { network } from '../src/stores/network/network.ts'
import { wayfinder } from '../src/stores/network/proxy.ts'
import { type S3Options, s3Store } from '../src/stores/s3/s3.ts'
import type { Store } from '../src/stores/store.ts'
import { type FakeInternet, fakeInternet } from './support/fake-internet.ts'
import { s3Options } from './support/s3-options.ts'
import { never } from './support/store.suite.ts'

const CLOUD = 'https://s3.eu-west-1.amazonaws.com'

describe('the way to a host', () => {
  const warnings: string[] = []
  const wayTo = (
    url: string,
    { proxy, noProxy = [], store = CLOUD }: { proxy?: string; noProxy?: string[]; store?: string } = {},
    env: Record<string, string> = {},
  ) => {
    const find = wayfinder({ proxy, noProxy, store, warn: line => warnings.push(line) }, env)
    const { proxy: through, detour } = find(new URL(url))
    return through ? `through ${through.origin}` : detour ? `around ${detour.origin}` : 'direct'
  }
  afterEach(() => {
    warnings.length = 0
  })
  const proxy = 'proxy:3128'
  const through = 'through http://proxy:3128'

  it('is never through a proxy to this machine or to a metadata service', () => {
    for (const host of [
      'localhost',
      'minio.localhost',
      '127.0.0.1',
      '127.9.9.9:9000',
      '[::1]:9000',
      hostname(),
      '169.254.169.254',
      '169.254.170.2',
      '[fd00:ec2::254]',
      'metadata.google.internal',
    ])
      for (const scheme of ['http', 'https'])
        assert.equal(wayTo(`${scheme}://${host}`, { proxy }, { HTTPS_PROXY: 'http://other:1' }), 'direct', host)
    assert.equal(wayTo('https://localhost.example', { proxy }), through)
    assert.equal(wayTo('https://127.0.0.1.example', { proxy }), through)
  })

  for (const [what, exceptions, past, not] of [
    ['a name, and all below it', 'minio', ['http://minio', 'http://a.minio:9000'], ['http://xminio', 'http://minio.x']],
    ['a suffix', '.hospital.example', ['https://s3.hospital.example'], ['https://xhospital.example']],
    ['a suffix with a star', '*.hospital.example', ['https://s3.hospital.example'], ['https://hospital.example.org']],
    ['capitals and a dot at the end', 'S3.Hospital.Example.', ['https://s3.hospital.example'], ['https://s3.example']],
    ['an address', '10.1.2.3', ['http://10.1.2.3:9000'], ['http://10.1.2.30']],
    ['a range', '10.0.0.0/8', ['http://10.200.0.1'], ['http://11.0.0.1', 'http://ten.example']],
    ['a range of IPv6', 'fd12::/16', ['http://[fd12:3::4]:9000'], ['http://[fd13::1]']],
    ['an address of IPv6', 'fd12::1', ['http://[fd12::1]'], ['http://[fd12::2]']],
    ['an address of IPv6 with a port', '[fd12::1]:9000', ['http://[fd12::1]:9000'], ['http://[fd12::1]:9001']],
    ['a name with a port', 'minio:9000', ['http://minio:9000'], ['http://minio:9001', 'http://minio']],
    ['the port of the scheme', 'minio:443', ['https://minio'], ['http://minio']],
    ['an address with a port', '10.1.2.3:443', ['https://10.1.2.3'], ['http://10.1.2.3']],
    ['a URL', 'https://s3.hospital.example/', ['https://s3.hospital.example'], ['https://s4.hospital.example']],
    ['everything', '*', ['http://minio', 'https://10.0.0.1', CLOUD], []],
    ['several', 'a, b ,c', ['http://a', 'http://b', 'http://c'], ['http://d']],
  ] as const)
    it(`is not through the proxy for ${what}, from NO_PROXY and from NoProxy`, () => {
      for (const [options, env] of [
        [{ proxy }, { NO_PROXY: exceptions }],
        [{ proxy }, { no_proxy: exceptions }],
        [{ proxy, noProxy: exceptions.split(',') }, {}],
      ] as const) {
        for (const url of past) assert.equal(wayTo(url, { ...options } as object, env), 'direct', url)
        for (const url of not) assert.equal(wayTo(url, { ...options } as object, env), through, url)
      }
    })

  it('tells of exceptions that nobody can mean', () => {
    assert.equal(wayTo('http://10.0.0.1', { proxy, noProxy: ['10.0.0.0/99', 'minio/x'] }), through)
    assert.equal(warnings.length, 2)
    assert.match(warnings[0] ?? '', /'10\.0\.0\.0\/99', which is not a range/)
  })

  it('is through the HTTPS_PROXY of the environment to the hosts of the clouds and to token services', () => {
    const env = { HTTPS_PROXY: 'http://u:p@out.example:8080' }
    const out = 'through http://out.example:8080'
    for (const [url, store] of [
      [CLOUD, CLOUD],
      ['https://bucket.s3.eu-west-1.amazonaws.com', 'https://bucket.s3.eu-west-1.amazonaws.com'],
      ['https://acct.blob.core.windows.net', 'https://acct.blob.core.windows.net'],
      ['https://storage.googleapis.com', 'https://storage.googleapis.com'],
      ['https://sts.eu-west-1.amazonaws.com', 'https://ceph.hospital.example'],
      ['https://login.microsoftonline.com', 'https://azure.hospital.example'],
    ] as const) {
      assert.equal(wayTo(url, { store }, env), out, url)
      assert.equal(wayTo(url, { store }, { https_proxy: env.HTTPS_PROXY }), out, url)
      assert.equal(wayTo(url, { store, proxy }, env), through, 'HttpProxy is the nearer word')
      assert.equal(wayTo(url, { store }, { ...env, NO_PROXY: new URL(url).hostname }), 'direct')
      assert.equal(wayTo(url, { store }, { HTTP_PROXY: 'http://out:1' }), 'direct')
    }
  })

  it('is a detour at most to an endpoint of our own, and never without TLS', () => {
    const env = { HTTPS_PROXY: 'http://out.example:8080' }
    for (const store of [
      'https://ceph.hospital.example',
      'https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com',
      'https://amazonaws.com.hospital.example',
    ])
      assert.equal(wayTo(store, { store }, env), 'around http://out.example:8080')
    assert.equal(wayTo('http://ceph.hospital.example', { store: 'http://ceph.hospital.example' }, env), 'direct')
  })

  it('takes passwords with odd characters, and names no secret when it cannot', () => {
    for (const password of ['50%', 'a%zz', 'p@ss', 'a:b', 'x/y?z#', 'p%40ss']) {
      const find = wayfinder(
        { proxy: `http://us%20er:${password}@proxy:3128`, noProxy: [], store: CLOUD, warn: () => {} },
        {},
      )
      const { proxy: found } = find(new URL(CLOUD))
      const expected = password === 'p%40ss' ? 'p@ss' : password
      assert.equal(found?.token, `Basic ${Buffer.from(`us er:${expected}`).toString('base64')}`)
      assert.equal(found?.name, 'the proxy proxy:3128 (HttpProxy)')
    }
    for (const bad of ['http://u:SECRET@[', 'socks5://u:SECRET@proxy:1']) {
      assert.equal(wayTo(CLOUD, { proxy: bad }), 'direct', 'Orthanc may have it for something else')
      assert.match(warnings.at(-1) ?? '', /^HttpProxy is not the URL of an HTTP proxy.*ignored for the object storage/)
    }
    assert.equal(wayTo(CLOUD, {}, { HTTPS_PROXY: 'http://u:SECRET@[' }), 'direct')
    assert.match(warnings.join(), /HTTPS_PROXY of the environment is not the URL of an HTTP proxy.*ignored/)
    assert.ok(!warnings.join().includes('SECRET'))
  })
})

describe('a proxy', () => {
  const HOST = 'store.hospital.example'
  let net: FakeInternet
  const lines: string[] = []
  const stores: Store[] = []
  beforeEach(async () => {
    net = await fakeInternet([HOST, 's3.eu-west-1.amazonaws.com'], (_visit, response) => {
      response.writeHead(200, { 'content-length': 2, etag: '"e"', 'x-amz-request-id': '1' }).end('ok')
    })
  })
  afterEach(async () => {
    delete process.env['HTTPS_PROXY']
    lines.length = 0
    await Promise.all(stores.splice(0).map(store => store.close()))
    await net.close()
  })

  const limits: ConnectionOptions = {
    connectTimeoutMs: 5000,
    requestTimeoutMs: 20_000,
    maxConnections: 2,
    maxRetries: 0,
  }
  const open = (more: Partial<S3Options>, environment: Partial<Environment> = {}): Store => {
    const log = (line: string) => void lines.push(line)
    const store = s3Store(
      {
        ...s3Options,
        bucket: 'b',
        region: 'eu-west-1',
        credentials: { accessKeyId: 'AKID', secretAccessKey: 'x' },
        endpoint: `https://${HOST}`,
        ...limits,
        ...more,
      },
      { caFile: net.caFile, proxy: undefined, probeKey: 'p', warn: line => log(`WARNING ${line}`), ...environment },
      log,
    )
    stores.push(store)
    return store
  }
  const read = async (store: Store) => (await collect(await store.get('k', undefined, never))).toString()

  it('that HttpProxy names carries the requests, and the log says so without its password', async () => {
    assert.equal(await read(open({}, { proxy: `us%20er:pa%ss@${net.proxy}` })), 'ok')
    const secret = `Basic ${Buffer.from('us er:pa%ss').toString('base64')}`
    assert.deepEqual(net.connects, [{ to: `${HOST}:443`, secret }])
    assert.deepEqual(lines, [`requests to https://${HOST} go through the proxy ${net.proxy} (HttpProxy)`])
  })

  it('that the environment names carries the requests to the cloud', async () => {
    process.env['HTTPS_PROXY'] = `http://${net.proxy}`
    assert.equal(await read(open({ endpoint: undefined })), 'ok')
    assert.deepEqual(net.connects, [{ to: 's3.eu-west-1.amazonaws.com:443', secret: undefined }])
    assert.match(lines.join(), /go through the proxy .* \(HTTPS_PROXY of the environment\)/)
  })

  it('that is not there is named, not the endpoint', async () => {
    const gone = await listen(createServer())
    await close(gone)
    const proxy = `127.0.0.1:${gone.port}`
    await assert.rejects(read(open({}, { proxy })), {
      code: 'Unavailable',
      message: /ECONNREFUSED/,
      remedy: `The proxy ${proxy} (HttpProxy) cannot be reached: check that it runs, or add the store's host to NoProxy.`,
    })
  })

  for (const [status, code, remedy] of [
    [407, 'Denied', /requires a user and a password/],
    [403, 'Unavailable', new RegExp(`does not let requests through to ${HOST}`)],
    [502, 'Unavailable', new RegExp(`does not let requests through to ${HOST}`)],
  ] as const)
    it(`that answers ${status} is named`, async () => {
      net.refusal = status
      await assert.rejects(read(open({}, { proxy: `u:SECRET@${net.proxy}` })), (fault: Fault) => {
        assert.equal(fault.code, code)
        assert.match(fault.remedy, remedy)
        assert.match(fault.remedy, /The proxy .*\(HttpProxy\)/)
        return !fault.describe().includes('SECRET')
      })
    })

  it('is not asked for what is on this machine', async () => {
    const server = await listen(
      createServer((_request, response) => response.writeHead(200, { 'content-length': 2 }).end('ok')),
    )
    try {
      const endpoint = `http://127.0.0.1:${server.port}`
      assert.equal(await read(open({ endpoint }, { proxy: net.proxy })), 'ok')
      assert.deepEqual([net.connects, lines], [[], []])
    } finally {
      await close(server)
    }
  })

  describe('of the environment, and our own endpoint', () => {
    let resolves: boolean
    const names = () =>
      new Names((name, done) =>
        resolves
          ? done(null, [{ address: '127.0.0.1', family: 4 }])
          : done(Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' }), []),
      )
    const ask = async (dispatcher: HttpClient, origin: string) => {
      const { statusCode, body } = await dispatcher.request({ origin, path: '/k', method: 'GET' })
      await body.dump()
      return statusCode
    }
    const dispatchers: HttpClient[] = []
    const connectTo = (store: string) => {
      const dispatcher = network({
        connectTimeoutMs: 5000,
        maxConnections: 2,
        caFile: net.caFile,
        proxy: undefined,
        noProxy: [],
        store,
        info: line => lines.push(line),
        warn: line => lines.push(`WARNING ${line}`),
        names: names(),
      })
      dispatchers.push(dispatcher)
      return dispatcher
    }
    beforeEach(() => {
      resolves = false
      process.env['HTTPS_PROXY'] = `http://u:SECRET@${net.proxy}`
    })
    afterEach(() => Promise.all(dispatchers.splice(0).map(dispatcher => dispatcher.destroy())))

    it('is the way when there is no direct one, with one WARNING', async () => {
      const dispatcher = connectTo(`https://${HOST}`)
      assert.deepEqual(await Promise.all([1, 2, 3].map(() => ask(dispatcher, `https://${HOST}`))), [200, 200, 200])
      assert.ok(net.connects.length > 0 && net.connects.every(({ to }) => to === `${HOST}:443`))
      assert.equal(lines.length, 1)
      assert.match(lines[0] ?? '', /^WARNING https:\/\/store.*cannot be reached directly.*the proxy .*NoProxy/)
      assert.ok(!lines.join().includes('SECRET'))
    })

    it('is not asked when there is one, and not later when that breaks', async () => {
      const origin = `https://${HOST}:${net.port}`
      const dispatcher = connectTo(origin)
      resolves = true
      assert.equal(await ask(dispatcher, origin), 200)
      net.hangUp()
      resolves = false
      assert.equal(await ask(dispatcher, origin), 200) // the address is still known
      await net.stopServing()
      await assert.rejects(ask(dispatcher, origin))
      assert.deepEqual([net.connects, lines], [[], []])
    })

    it('leaves the direct failure to be told when it cannot help either', async () => {
      net.refusal = 503
      await assert.rejects(ask(connectTo(`https://${HOST}`), `https://${HOST}`), { code: 'ENOTFOUND' })
      assert.equal(net.connects.length, 1)
      assert.deepEqual(lines, [])
    })

    it('is no way without TLS', async () => {
      await assert.rejects(ask(connectTo(`http://${HOST}`), `http://${HOST}`), { code: 'ENOTFOUND' })
      assert.deepEqual(net.connects, [])
    })
  })

  it('that accepts and says nothing is given up after ConnectionTimeout', async () => {
    const sockets: Socket[] = []
    const mute = await listen(createTcpServer(socket => void sockets.push(socket)) as unknown as Server)
    try {
      const store = open({ connectTimeoutMs: 1000 }, { proxy: `127.0.0.1:${mute.port}` })
      await assert.rejects(read(store), { code: 'Timeout', remedy: /The proxy .* cannot be reached/ })
    } finally {
      for (const socket of sockets) socket.destroy()
      await close(mute)
    }
  })
})

async function listen(server: Server): Promise<{ server: Server; port: number }> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as AddressInfo).port }
}

async function close({ server }: { server: Server }): Promise<void> {
  await new Promise(resolve => server.close(resolve).closeAllConnections?.())
}
