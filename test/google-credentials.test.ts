/**
 * Which credentials reach Google, and how. Google itself cannot be had, so a stub takes its place; it verifies the
 * signature of the service account's token with the public key, which is why a wrong key is really refused here.
 */
import assert from 'node:assert/strict'
import { createVerify, generateKeyPairSync } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import { gcsStore } from '../src/stores/gcs/gcs.ts'
import { type FakeInternet, fakeInternet, type Visit, withEnvironment } from './support/fake-internet.ts'
import { never } from './support/store.suite.ts'

const pair = () =>
  generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
const [right, other] = [pair(), pair()]

describe('credentials for Google', () => {
  let net: FakeInternet
  let trusted = right.publicKey
  let handedOut = 0
  let refused = ''
  let down = false
  const json = (response: ServerResponse, status: number, body: object) =>
    response
      .writeHead(status, { 'content-type': 'application/json', 'x-guploader-uploadid': 'R' })
      .end(JSON.stringify(body))

  const verified = (bearer: string) => {
    const [head = '', claims = '', signature = ''] = bearer.replace(/^Bearer /, '').split('.')
    if (!createVerify('RSA-SHA256').update(`${head}.${claims}`).verify(trusted, signature, 'base64url'))
      return undefined
    return JSON.parse(Buffer.from(claims, 'base64url').toString())
  }
  const answer = (visit: Visit, response: ServerResponse) => {
    if (visit.host === 'oauth2.googleapis.com' && down) return json(response, 503, { error: 'unavailable' })
    if (visit.host === 'oauth2.googleapis.com')
      return json(response, 200, {
        access_token: `token-of-a-user-${++handedOut}`,
        expires_in: 3600,
        token_type: 'Bearer',
      })
    const bearer = visit.headers.authorization ?? ''
    const claims =
      bearer === `Bearer ${refused}` ? undefined : bearer.startsWith('Bearer token-of-a-') ? {} : verified(bearer)
    if (!claims) return json(response, 401, { error: { code: 401, message: 'Invalid Credentials' } })
    if (visit.line.includes('testPermissions')) {
      const permissions = ['create', 'get', 'delete'].map(verb => `storage.objects.${verb}`)
      return json(response, 200, { permissions })
    }
    return json(response, 200, {})
  }

  before(async () => {
    net = await fakeInternet(['storage.googleapis.com', 'oauth2.googleapis.com'], answer)
  })
  after(() => net.close())
  beforeEach(() => {
    trusted = right.publicKey
    net.visits.length = handedOut = 0
    refused = ''
    down = false
  })

  const accountFile = (privateKey: string, name = 'account.json'): string => {
    const file = join(net.folder, name)
    const account = {
      type: 'service_account',
      project_id: 'p',
      private_key_id: 'id',
      private_key: privateKey,
      client_email: 'orthanc@p.iam.gserviceaccount.com',
      client_id: '1',
      token_uri: 'https://oauth2.googleapis.com/token',
    }
    writeFileSync(file, JSON.stringify(account))
    return file
  }
  const open = (serviceAccountFile: string | undefined) =>
    gcsStore(
      {
        bucket: 'b',
        endpoint: undefined,
        serviceAccountFile,
        storageClass: undefined,
        connectTimeoutMs: 60_000,
        requestTimeoutMs: 120_000,
        maxConnections: 4,
        maxRetries: 0,
      },
      { caFile: net.caFile, proxy: net.proxy, probeKey: 'probe' },
      () => {},
    )

  it('a service account signs its own token, and no request is made for one', async () => {
    const store = open(accountFile(right.privateKey))
    await store.check(never)
    await store.remove('x', never)
    await store.close()
    const bearers = net.visits.map(({ headers }) => headers.authorization)
    assert.deepEqual([...new Set(net.visits.map(({ host }) => host))], ['storage.googleapis.com'])
    assert.equal(new Set(bearers).size, 1, 'the token is made once')
    const claims = verified(String(bearers[0]))
    assert.equal(claims.iss, 'orthanc@p.iam.gserviceaccount.com')
    assert.match(claims.scope, /devstorage\.read_write$/)
  })

  it('a service account with a wrong key is refused, by name of its file', async () => {
    const file = accountFile(other.privateKey, 'wrong.json')
    const store = open(file)
    await assert.rejects(store.check(never), (error: unknown) => {
      assert.ok(error instanceof Fault && error.code === 'Denied')
      assert.match(
        error.describe(),
        /Invalid Credentials.*wrong\.json is not \(or no longer\) one of the service account/,
      )
      assert.ok(!error.describe().includes('PRIVATE KEY'))
      return true
    })
    await store.close()
  })

  it('a key that does not parse is told without showing it', async () => {
    const store = open(accountFile('-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n', 'garbled.json'))
    await assert.rejects(store.check(never), (error: unknown) => {
      assert.ok(error instanceof Fault && error.code === 'Denied', String(error))
      return !error.describe().includes('SECRET')
    })
    await store.close()
  })

  it('a key that is replaced in its file is taken without a restart, and a broken file changes nothing', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const file = accountFile(right.privateKey, 'rotated.json')
    const store = open(file)
    await store.remove('x', never)
    trusted = other.publicKey
    accountFile(other.privateKey, 'rotated.json')
    t.mock.timers.tick(2100) // the file is not looked at more often
    await store.remove('x', never)
    writeFileSync(file, '{"type": "service_acc') // as an editor may leave it for a moment
    t.mock.timers.tick(2100)
    await store.remove('x', never)
    rmSync(file)
    t.mock.timers.tick(2100)
    await store.remove('x', never)
    await store.close()
  })

  for (const [what, content, line] of [
    ['that is missing', undefined, /ENOENT/],
    ['that is not JSON', '{"private_key": "SECRET', /it is not JSON/],
    ['that holds no credentials', '{}', /not the key of a service account/],
  ] as const)
    it(`a file ${what} is told at once`, async () => {
      const file = join(net.folder, 'bad.json')
      rmSync(file, { force: true })
      if (content !== undefined) writeFileSync(file, content)
      const store = open(file)
      await assert.rejects(store.check(never), (error: unknown) => {
        assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
        assert.match(error.describe(), line)
        assert.match(error.describe(), /credential file .*bad\.json cannot be used/)
        assert.ok(!error.describe().includes('SECRET'))
        return true
      })
      await store.close()
    })

  const asUser = (work: () => Promise<void>, more: object = {}) => {
    const file = join(net.folder, 'user.json')
    const user = { type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token: 'r', ...more }
    writeFileSync(file, JSON.stringify(user))
    return withEnvironment({ GOOGLE_APPLICATION_CREDENTIALS: file }, work)
  }
  const asked = (host: string) => net.visits.filter(visit => visit.host === host)
  const bearers = () => asked('storage.googleapis.com').map(({ headers }) => headers.authorization)

  it('application default credentials fetch their token through the proxy, trusting the CA file, once', () =>
    asUser(async () => {
      const store = open(undefined)
      await Promise.all(['x', 'y', 'z'].map(key => store.remove(key, never)))
      await store.close()
      assert.equal(asked('oauth2.googleapis.com').length, 1)
      assert.match(asked('oauth2.googleapis.com')[0]?.headers['content-type'] ?? '', /x-www-form-urlencoded/)
      assert.deepEqual(bearers(), Array(3).fill('Bearer token-of-a-user-1'))
    }))

  it('a token that is refused is dropped, and the request repeated once with a new one', () =>
    asUser(async () => {
      refused = 'token-of-a-user-1'
      const store = open(undefined)
      await store.remove('x', never)
      await store.close()
      assert.deepEqual(bearers(), ['Bearer token-of-a-user-1', 'Bearer token-of-a-user-2'])
    }))

  it('are Unavailable while the token service is', () =>
    asUser(async () => {
      down = true
      const store = open(undefined)
      await assert.rejects(store.remove('x', never), (error: unknown) => {
        assert.ok(error instanceof Fault && error.code === 'Unavailable' && error.retryable, String(error))
        assert.match(error.message, /no credentials: .*oauth2\.googleapis\.com answers HTTP 503/)
        return true
      })
      down = false
      await store.remove('x', never)
      await store.close()
    }))

  it('name the project that pays, where they have one', async () => {
    await asUser(
      async () => {
        const store = open(undefined)
        await store.remove('x', never)
        await store.close()
      },
      { quota_project_id: 'payer' },
    )
    const file = accountFile(right.privateKey, 'payer.json')
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), quota_project_id: 'payer' }))
    const store = open(file)
    await store.remove('x', never)
    await store.close()
    assert.deepEqual(
      asked('storage.googleapis.com').map(({ headers }) => headers['x-goog-user-project']),
      ['payer', 'payer'],
    )
  })

  it('are Unavailable while the metadata server is late, and come when it is there', async () => {
    const closed = createServer()
    await new Promise<void>(resolve => closed.listen(0, '127.0.0.1', resolve))
    const { port } = closed.address() as AddressInfo
    await new Promise(resolve => closed.close(resolve))
    // A proxy of the environment is not for the metadata server.
    const environment = { GCE_METADATA_HOST: `127.0.0.1:${port}`, HTTPS_PROXY: 'http://127.0.0.1:1', HOME: net.folder }
    const home = process.env['HOME']
    try {
      await withEnvironment(environment, async () => {
        const store = open(undefined)
        await assert.rejects(store.remove('x', never), {
          code: 'Unavailable',
          retryable: true,
          message: /ECONNREFUSED/,
        })
        const metadata = createServer(({ url }, response) => {
          response.setHeader('metadata-flavor', 'Google')
          if (!url?.includes('/token')) return response.end('default')
          const token = { access_token: 'token-of-a-machine', expires_in: 3600, token_type: 'Bearer' }
          return response.setHeader('content-type', 'application/json').end(JSON.stringify(token))
        })
        await new Promise<void>(resolve => metadata.listen(port, '127.0.0.1', resolve))
        try {
          await store.remove('x', never)
        } finally {
          metadata.closeAllConnections()
          metadata.close()
        }
        await store.close()
      })
    } finally {
      process.env['HOME'] = home
    }
    assert.deepEqual(bearers(), ['Bearer token-of-a-machine'])
  })

  it('no token travels to an emulator over http', async () => {
    const seen: (string | undefined)[] = []
    const plain = createServer((request, response) => {
      seen.push(request.headers.authorization)
      response.writeHead(204, { 'x-guploader-uploadid': 'R' }).end()
    })
    await new Promise<void>(resolve => plain.listen(0, '127.0.0.1', resolve))
    const address = plain.address()
    const port = typeof address === 'object' ? address?.port : 0
    const options = { bucket: 'b', endpoint: `http://127.0.0.1:${port}`, serviceAccountFile: undefined }
    const limits = { connectTimeoutMs: 60_000, requestTimeoutMs: 120_000, maxConnections: 1, maxRetries: 0 }
    const environment = { caFile: undefined, proxy: undefined, probeKey: 'probe' }
    const store = gcsStore({ ...options, ...limits, storageClass: undefined }, environment, () => {})
    await store.remove('x', never)
    await store.close()
    plain.close()
    assert.deepEqual(seen, [undefined])
  })
})
