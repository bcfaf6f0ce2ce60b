/**
 * Services that give tokens, and what names them: after any answer, a request gets a token or an error that says why.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent } from 'undici'
import { readConnectionString } from '../../src/config/connection-string.ts'
import { Fault } from '../../src/fault.ts'
import { azureAuthorizer } from '../../src/stores/azure/auth.ts'
import { googleAuthorizer } from '../../src/stores/gcs/auth.ts'
import type { HttpClient } from '../../src/stores/network/client.ts'
import { overUndici } from '../../src/stores/network/over-undici.ts'
import { wayfinder } from '../../src/stores/network/proxy.ts'
import { s3Signing } from '../../src/stores/s3/auth.ts'
import { signer, UNSIGNED_PAYLOAD } from '../../src/stores/s3/sigv4.ts'
import { fc } from '../support/property.ts'
import { never } from '../support/store.suite.ts'
import { bodies } from './bodies.ts'
import type { Claims } from './claim.ts'
import { isForeseen, isOneLine } from './lines.ts'
import { anyJson, text } from './texts.ts'

/** In every secret; no message may hold it. */
const MARK = 'S3cr3tM4rk'
const folder = mkdtempSync(join(tmpdir(), 'ocs-fuzz-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

let answer: Said = { status: 200, body: '' }
let started: Promise<string> | undefined
/** One server for all services: it says the same to whatever it is asked. */
function service(): Promise<string> {
  started ??= new Promise(resolve => {
    const server: Server = createServer((request, response) => {
      request.resume().on('end', () => {
        response.setHeader('metadata-flavor', 'Google')
        response.setHeader('connection', 'close')
        response.statusCode = answer.status
        response.end(answer.body)
      })
    })
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
    server.unref()
  })
  return started
}

/** Only these variables say where credentials are. */
async function within<T>(variables: Record<string, string>, work: () => Promise<T>): Promise<T> {
  const before = { ...process.env }
  for (const name of Object.keys(process.env))
    if (/^(AWS_|AZURE_|GOOGLE_|GCE_|IDENTITY_|MSI_|HTTPS?_PROXY$|NO_PROXY$)/i.test(name)) delete process.env[name]
  Object.assign(process.env, { HOME: folder, AWS_EC2_METADATA_DISABLED: 'true', ...variables })
  try {
    return await work()
  } finally {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
    Object.assign(process.env, before)
  }
}

function refusedWell(error: unknown, marked = true): void {
  assert.ok(error instanceof Fault, `no Fault: ${error instanceof Error ? error.stack : error}`)
  assert.ok(isForeseen(error), `nobody foresaw: ${error.cause instanceof Error ? error.cause.stack : error.message}`)
  const line = error.describe()
  assert.ok(isOneLine(line), `no short line: ${JSON.stringify(line.slice(0, 3000))}`)
  assert.ok(!marked || !line.includes(MARK), `shows a secret: ${line}`)
}

/** With what AWS's default chain finds. */
async function signed(dispatcher: HttpClient): Promise<unknown> {
  const keys = await s3Signing(undefined, { region: 'eu-west-1', dispatcher, warn: () => {} }).keys(never)
  const request = { method: 'GET', host: 'h', path: '/k', query: [], headers: {}, payloadHash: UNSIGNED_PAYLOAD }
  return signer('eu-west-1')(request, keys)
}
/** Its library asks three times, a second apart. */
const ofContainer: Chain = (url, dispatcher) =>
  within({ AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/keys`, AWS_CONTAINER_AUTHORIZATION_TOKEN: MARK }, () =>
    signed(dispatcher),
  )

const draft = { method: 'GET', path: '/k' } as const

type Chain = (url: string, dispatcher: HttpClient) => Promise<unknown>
const chains: Readonly<Record<string, Chain>> = {
  aws: (url, dispatcher) => {
    writeFileSync(join(folder, 'token'), `a-web-identity-${MARK}`)
    const variables = {
      AWS_ROLE_ARN: 'arn:aws:iam::1:role/orthanc',
      AWS_WEB_IDENTITY_TOKEN_FILE: join(folder, 'token'),
      AWS_ENDPOINT_URL_STS: url,
      AWS_MAX_ATTEMPTS: '1',
    }
    return within(variables, () => signed(dispatcher))
  },
  azure: (url, dispatcher) =>
    within({ IDENTITY_ENDPOINT: `${url}/msi`, IDENTITY_HEADER: MARK }, () =>
      azureAuthorizer({ kind: 'chain' }, dispatcher, () => {})(draft, 0, false, never),
    ),
  google: (url, dispatcher) =>
    within({ GCE_METADATA_HOST: url.replace('http://', '') }, () =>
      googleAuthorizer(undefined, dispatcher, () => {})(draft, 0, false, never),
    ),
}

const value = fc.oneof(
  {
    arbitrary: fc.constantFrom(`"${MARK}"`, `"${MARK}\\r\\nx: y"`, `"2026-01-01T00:00:00Z"`, '"3600"', '3600', '0'),
    weight: 3,
  },
  { arbitrary: anyJson(MARK), weight: 2 },
)
const NAMES = [
  'AccessKeyId',
  'SecretAccessKey',
  'Token',
  'Expiration',
  'access_token',
  'expires_in',
  'expires_on',
  'token_type',
  'error',
  'error_description',
  'message',
  'code',
] // prettier-ignore
const rightJson = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), value), { minLength: 1, maxLength: 8, selector: ([name]) => name })
  .map(all => `{${all.map(([name, json]) => `${JSON.stringify(name)}: ${json}`).join(', ')}}`)
const element = fc.oneof(fc.constantFrom(MARK, '', '2026-01-01T00:00:00Z', 'x', '<a/>', '&lt;\u0007'), text)
const rightXml = fc
  .record({ AccessKeyId: element, SecretAccessKey: element, SessionToken: element, Expiration: element })
  .map(fields => {
    const inner = Object.entries(fields).map(([name, content]) => `<${name}>${content}</${name}>`)
    return `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>${inner.join('')}</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`
  })
interface Said {
  readonly status: number
  readonly body: string
}
const said: fc.Arbitrary<Said> = fc.record({
  /** What a server has to say of itself (5xx) the libraries ask again, which takes seconds. */
  status: fc.constantFrom(200, 200, 200, 201, 204, 302, 400, 401, 403, 405),
  body: fc.oneof(
    { arbitrary: rightJson, weight: 4 },
    { arbitrary: rightXml, weight: 3 },
    { arbitrary: fc.constantFrom(...Object.values(bodies)), weight: 2 },
  ),
})

async function asked(chain: Chain, one: Said): Promise<void> {
  answer = one
  const dispatcher = overUndici(new Agent())
  const warnings: string[] = []
  const { emitWarning } = process
  process.emitWarning = ((line: unknown) => void warnings.push(String(line))) as typeof emitWarning
  try {
    await chain(await service(), dispatcher)
  } catch (error) {
    refusedWell(error, one.status < 300) // the words of a refusal are meant to be read
  } finally {
    process.emitWarning = emitWarning
    await dispatcher.destroy()
  }
  for (const line of warnings) assert.ok(isOneLine(line) && !line.includes(MARK), `on stderr: ${line.slice(0, 3000)}`)
}

const variable = fc.oneof(
  { arbitrary: text, weight: 3 },
  { arbitrary: fc.tuple(text, text).map(all => all.join(',')), weight: 1 },
)
const to = fc.constantFrom(
  'https://s3.eu-west-1.amazonaws.com',
  'http://10.1.2.3:9000',
  'http://[fe80::1]:1',
  'https://minio',
  'http://127.0.0.1',
)

export const claims: Claims = {
  'a service for tokens may answer what it likes': {
    runs: 10,
    property: fc.asyncProperty(fc.constantFrom(...Object.keys(chains)), said, (name, one) =>
      asked(chains[name] as Chain, one),
    ),
  },

  'the service for the keys of a container may answer what it likes': {
    runs: 1,
    property: fc.asyncProperty(said, one => asked(ofContainer, one)),
  },

  'a credential file of Google may hold anything': {
    runs: 200,
    property: fc.asyncProperty(
      fc.oneof(
        anyJson(MARK),
        text,
        fc
          .tuple(anyJson(), value, value)
          .map(
            ([email, key, id]) =>
              `{"type": "service_account", "client_email": ${email}, "private_key": ${key}, "private_key_id": ${id}}`,
          ),
      ),
      async content => {
        const file = join(folder, 'google.json')
        writeFileSync(file, content)
        const dispatcher = overUndici(new Agent())
        try {
          await googleAuthorizer(file, dispatcher, () => {})(draft, 0, false, never)
        } catch (error) {
          refusedWell(error)
        } finally {
          await dispatcher.destroy()
        }
      },
    ),
  },

  'a connection string leads to the account that it names, or is refused': {
    runs: 1_000,
    property: fc.property(
      fc.uniqueArray(
        fc.tuple(
          fc.constantFrom(
            'AccountName',
            'AccountKey',
            'SharedAccessSignature',
            'BlobEndpoint',
            'EndpointSuffix',
            'DefaultEndpointsProtocol',
            'UseDevelopmentStorage',
            'DevelopmentStorageProxyUri',
            'accountname',
            '',
          ),
          fc.oneof(
            fc.constantFrom(
              'acct',
              'c2VjcmV0',
              'https://acct.blob.core.windows.net',
              'true',
              'http',
              MARK,
              'core.windows.net',
            ),
            text,
          ),
        ),
        { maxLength: 5, selector: ([name]) => name },
      ),
      pairs => {
        const given = pairs.map(([name, is]) => `${name}=${is}`).join(';')
        try {
          const { endpoint, credentials, account } = readConnectionString('Azure.ConnectionString', given)
          const { hostname, username, password, protocol } = new URL(endpoint)
          assert.match(protocol, /^https?:$/)
          assert.equal(username + password, '')
          if (!/BlobEndpoint|UseDevelopmentStorage/.test(given))
            assert.ok(hostname.startsWith(`${account.toLowerCase()}.blob.`), endpoint)
          assert.ok(credentials.kind !== 'chain')
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error
          refusedWell(error)
        }
      },
    ),
  },

  'a proxy and the hosts without one may be anything': {
    runs: 500,
    property: fc.property(
      fc.record({ proxy: variable, secure: variable, past: variable, no: fc.array(variable, { maxLength: 3 }) }),
      to,
      ({ proxy, secure, past, no }, host) => {
        const lines: string[] = []
        const options = {
          proxy: `user:${MARK}@${proxy}`,
          noProxy: no,
          store: host,
          warn: (line: string) => void lines.push(line),
        }
        const way = wayfinder(options, { HTTPS_PROXY: `user:${MARK}@${secure}`, NO_PROXY: past })(new URL(host))
        for (const via of [way.proxy, way.detour]) if (via) lines.push(via.name)
        for (const line of lines) {
          assert.ok(isOneLine(line), `no short line: ${JSON.stringify(line.slice(0, 3000))}`)
          assert.ok(!line.includes(MARK), `shows a secret: ${line}`)
        }
      },
    ),
  },
}
