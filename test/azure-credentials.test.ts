/**
 * Which identities reach Azure, and how. Entra ID cannot be had: a stub hands out the tokens; see also
 * live/azure-identity.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import { azureStore } from '../src/stores/azure/azure.ts'
import { type FakeInternet, fakeInternet, type Visit, withEnvironment } from './support/fake-internet.ts'
import { never } from './support/store.suite.ts'

const HOSTS = ['login.microsoftonline.com', 'acct.blob.core.windows.net']

describe('the default chain of Azure', () => {
  let net: FakeInternet
  let handedOut = 0
  let refused = ''
  let down = false
  const json = (response: ServerResponse, status: number, body: object) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))

  const answer = (visit: Visit, response: ServerResponse) => {
    const authority = 'https://login.microsoftonline.com/tenant'
    if (visit.host === 'acct.blob.core.windows.net' && visit.headers.authorization === `Bearer ${refused}`)
      return response.writeHead(401, { 'x-ms-error-code': 'InvalidAuthenticationInfo' }).end()
    if (visit.host === 'acct.blob.core.windows.net')
      return visit.headers.authorization?.startsWith('Bearer token-of-a-workload')
        ? response.writeHead(202, { 'x-ms-request-id': 'R' }).end()
        : response.writeHead(403, { 'x-ms-error-code': 'AuthorizationPermissionMismatch' }).end()
    if (visit.line.includes('/discovery/instance'))
      return json(response, 200, { tenant_discovery_endpoint: `${authority}/v2.0/.well-known/openid-configuration` })
    if (visit.line.includes('openid-configuration'))
      return json(response, 200, {
        issuer: `${authority}/v2.0`,
        authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
        token_endpoint: `${authority}/oauth2/v2.0/token`,
        jwks_uri: `${authority}/discovery/v2.0/keys`,
      })
    if (down) return json(response, 503, { error: 'temporarily_unavailable', error_description: 'try again' })
    const good = visit.body.includes('client_assertion=assertion-')
    if (good) handedOut++
    return json(
      response,
      good ? 200 : 401,
      good
        ? { access_token: `token-of-a-workload-${handedOut}`, expires_in: 3600, token_type: 'Bearer' }
        : { error: 'invalid_client', error_description: 'AADSTS7000215' },
    )
  }
  before(async () => {
    net = await fakeInternet(HOSTS, answer)
  })
  after(() => net.close())
  beforeEach(() => {
    net.visits.length = handedOut = 0
    refused = ''
    down = false
  })

  const open = () =>
    azureStore(
      {
        account: 'acct',
        endpoint: 'https://acct.blob.core.windows.net',
        container: 'images',
        credentials: { kind: 'chain' },
        createContainer: false,
        accessTier: undefined,
        connectTimeoutMs: 60_000,
        requestTimeoutMs: 120_000,
        maxConnections: 4,
        maxRetries: 0,
      },
      { caFile: net.caFile, proxy: net.proxy, probeKey: 'probe' },
      { info: () => {}, warn: () => {} },
    )

  it('exchanges the file of a workload identity, through the proxy, trusting the CA file, once', async () => {
    const file = join(net.folder, 'assertion')
    writeFileSync(file, 'assertion-1')
    const identity = { AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'client', AZURE_FEDERATED_TOKEN_FILE: file }
    await withEnvironment({ ...identity, AZURE_TOKEN_CREDENTIALS: 'prod' }, async () => {
      const store = open()
      await Promise.all(['x', 'y', 'z'].map(key => store.remove(key, never)))
      await store.close()
    })
    assert.equal(net.visits.filter(({ line }) => line.startsWith('POST /tenant/oauth2/v2.0/token')).length, 1)
    const deletes = net.visits.filter(({ line }) => line.startsWith('DELETE /images/'))
    assert.deepEqual(
      deletes.map(({ headers }) => headers.authorization),
      Array(3).fill('Bearer token-of-a-workload-1'),
    )
    assert.ok(deletes.every(({ headers }) => headers['x-ms-version']))
  })

  const asWorkload = (work: () => Promise<void>) => {
    const file = join(net.folder, 'assertion')
    writeFileSync(file, 'assertion-1')
    const identity = { AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'client', AZURE_FEDERATED_TOKEN_FILE: file }
    return withEnvironment({ ...identity, AZURE_TOKEN_CREDENTIALS: 'WorkloadIdentityCredential' }, work)
  }
  const deletes = () => net.visits.filter(({ line }) => line.startsWith('DELETE')).map(one => one.headers.authorization)

  it('drops a token that is refused, and repeats the request once with a new one', () =>
    asWorkload(async () => {
      refused = 'token-of-a-workload-1'
      const store = open()
      await store.remove('x', never)
      await store.close()
      assert.deepEqual(deletes(), ['Bearer token-of-a-workload-1', 'Bearer token-of-a-workload-2'])
    }))

  it('is Unavailable while Entra ID is not available', () =>
    asWorkload(async () => {
      down = true
      const store = open()
      await assert.rejects(store.remove('x', never), (error: unknown) => {
        assert.ok(error instanceof Fault && error.code === 'Unavailable' && error.retryable, String(error))
        assert.match(error.message, /no credentials: .*login\.microsoftonline\.com answers HTTP 503/)
        return true
      })
      down = false
      await store.remove('x', never)
      await store.close()
    }))

  it('is Unavailable while the endpoint of a managed identity does not answer', () =>
    withEnvironment(
      {
        AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential',
        IDENTITY_ENDPOINT: 'http://127.0.0.1:1',
        IDENTITY_HEADER: 'x',
      },
      async () => {
        const store = open()
        await assert.rejects(store.remove('x', never), { code: 'Unavailable', message: /127\.0\.0\.1:1.*ECONNREFUSED/ })
        await store.close()
      },
    ))

  it('says what to give when there is no identity', async () => {
    await withEnvironment({ AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential' }, async () => {
      const store = open()
      await assert.rejects(store.check(never), (error: unknown) => {
        assert.ok(error instanceof Fault && error.code === 'Denied', String(error))
        assert.match(error.describe(), /no credentials: .*Set ConnectionString, or .*the default chain/)
        return true
      })
      await store.close()
    })
  })
})
