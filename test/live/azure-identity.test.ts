/** A managed identity against Azurite over https, which checks the claims of its tokens, but not their signature. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { startAzurite } from '../../harness/azurite.ts'
import { collect } from '../../src/bytes.ts'
import { azureStore } from '../../src/stores/azure/azure.ts'
import { makeCertificate } from '../support/fake-internet.ts'
import { chunked, never, noise } from '../support/store.suite.ts'
import { liveServer } from './support/servers.ts'

const segment = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

it('a managed identity stores and reads', { skip: !liveServer('azurite') }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-identity-'))
  const tls = makeCertificate(folder, ['localhost'])
  const azurite = await startAzurite(folder, tls)
  const now = Math.floor(Date.now() / 1000)
  let requests = 0
  // The endpoint that Azure gives to an App Service for its managed identity.
  const identity = createServer((request, response) => {
    requests++
    assert.equal(request.headers['x-identity-header'], 'secret')
    const audience = new URL(request.url ?? '', 'http://x').searchParams.get('resource')
    const claims = {
      aud: audience,
      iss: 'https://sts.windows.net/00000000-0000-0000-0000-000000000000/',
      iat: now - 60,
      nbf: now - 60,
      exp: now + 3600,
    }
    const access_token = `${segment({ alg: 'RS256', typ: 'JWT' })}.${segment(claims)}.c2lnbmF0dXJl`
    const body = { access_token, expires_on: String(now + 3600), resource: audience, token_type: 'Bearer' }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>(resolve => identity.listen(0, '127.0.0.1', resolve))
  const variables = {
    IDENTITY_ENDPOINT: `http://127.0.0.1:${(identity.address() as AddressInfo).port}/token`,
    IDENTITY_HEADER: 'secret',
    AZURE_TOKEN_CREDENTIALS: 'prod',
  }
  Object.assign(process.env, variables)
  const store = azureStore(
    {
      account: azurite.account,
      endpoint: azurite.endpoint,
      container: 'images',
      credentials: { kind: 'chain' },
      createContainer: true,
      accessTier: undefined,
      connectTimeoutMs: 60_000,
      requestTimeoutMs: 120_000,
      maxConnections: 4,
      maxRetries: 0,
    },
    { caFile: tls.cert, proxy: undefined, probeKey: 'probe' },
    { info: () => {}, warn: () => {} },
  )
  try {
    await store.check(never)
    await store.put('x', chunked(noise(1000)), never)
    assert.deepEqual(await collect(await store.get('x', undefined, never)), noise(1000))
    assert.equal(requests, 1)
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name]
    await store.close()
    identity.close()
    await azurite.stop()
    rmSync(folder, { recursive: true, force: true })
  }
})
