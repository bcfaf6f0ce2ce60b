/**
 * Pages and errors that repeat the request they answer: no secret of it comes into a message. All providers, all verbs.
 */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { collect } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { azureStore } from '../src/stores/azure/azure.ts'
import { gcsStore } from '../src/stores/gcs/gcs.ts'
import { secretsIn } from '../src/stores/http/secrets-sent.ts'
import { TokenServices } from '../src/stores/http/token-service.ts'
import { network } from '../src/stores/network/network.ts'
import { s3Store } from '../src/stores/s3/s3.ts'
import type { Store } from '../src/stores/store.ts'
import { s3Options } from './support/s3-options.ts'
import { chunked, never, noise } from './support/store.suite.ts'

const escaped = (text: string) => text.replace(/[+/=]/g, c => `&#x${c.charCodeAt(0).toString(16)};`)

const secretsOf = (lines: string[]) =>
  lines.flatMap(
    line => /^(?:authorization|x-amz-security-token): (?:\w+ )?(.*)|&sig=([^ &]*)/.exec(line)?.slice(1) ?? [],
  )

/** What servers make of the request that they repeat. */
const pages: Readonly<Record<string, (lines: string[]) => string>> = {
  'as it came': lines => lines.join('\n'),
  'its end first': lines => lines.reverse().join(' '),
  'in a title': lines => `<html><title>${lines.join(' ')}</title></html>`,
  'in cells of a table': lines => `<table>${lines.map(line => `<td>${line.replace(': ', '</td><td>')}</td>`)}</table>`,
  'with entities': lines => `<html><p>${lines.map(escaped).join('<br>')}</p></html>`,
  'in the way of URLs': lines => lines.map(encodeURIComponent).join(' '),
  'its secrets alone': lines => secretsOf(lines).join(' '),
  'its secrets alone, in the way of URLs': lines => secretsOf(lines).map(encodeURIComponent).join(' '),
  'in JSON': lines => JSON.stringify(Object.fromEntries(lines.map(line => line.split(': ')))),
  'in JSON of PHP': lines => JSON.stringify(lines).replaceAll('/', '\\/'),
  'cut off': lines => lines.map(line => line.slice(0, 60)).join('\n'),
  'as an error of S3 or Azure': lines =>
    `<Error><Code>AccessDenied</Code><Message>${escaped(lines.join(' '))}</Message></Error>`,
  "as an error of Google's": lines => JSON.stringify({ error: { code: 403, message: lines.join(' ') } }),
}

const verbs: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
  put: store => store.put('k', chunked(noise(1000)), never),
  get: async store => collect(await store.get('k', undefined, never)),
  stat: store => store.stat('k', never),
  remove: store => store.remove('k', never),
  list: async store => {
    for await (const _ of store.list('', never));
  },
  check: store => store.check(never),
}

/** The least that a page may show of a secret without helping anybody. */
const betrays = (line: string, secret: string) =>
  [secret, encodeURIComponent(secret), escaped(secret)].some(form => line.includes(form.slice(0, 14)))

describe('a request that is repeated', () => {
  const limits = { connectTimeoutMs: 5000, requestTimeoutMs: 60_000, maxConnections: 8, maxRetries: 0 }
  const environment = { caFile: undefined, proxy: undefined, probeKey: 'probe', warn: () => {} }
  const session = 'IQoJ+b3/JpZ2luX2VjEJH==wEaCXVzLWVhc3QtMSJHMEUCIQD'
  const sas = 'fW7u+Q/0nqP3b1w9Y8kz5hXyV2c4d6e8f0a1b3c5d7e='
  const key = Buffer.from('a key that nobody may know').toString('base64')
  const seen = new Set<string>()
  let answer: (request: IncomingMessage, response: ServerResponse) => void
  const server = createServer((request, response) => {
    request.resume().on('end', () => answer(request, response))
  })
  let endpoint = ''
  let folder = ''
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-repeated-'))
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const private_key = privateKey.export({ type: 'pkcs8', format: 'pem' })
    const account = { type: 'service_account', client_email: 'a@b.example', private_key }
    writeFileSync(join(folder, 'account.json'), JSON.stringify(account), { mode: 0o600 })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  after(() => {
    rmSync(folder, { recursive: true, force: true })
    server.closeAllConnections()
    server.close()
  })

  const bucket = { bucket: 'bucket', storageClass: undefined, ...limits }
  const container = { account: 'acct', container: 'images', createContainer: false, accessTier: undefined, ...limits }
  const s3 = () =>
    s3Store(
      {
        ...s3Options,
        ...bucket,
        region: 'us-east-1',
        credentials: { accessKeyId: 'a', secretAccessKey: key, sessionToken: session },
        endpoint,
      },
      environment,
      () => {},
    )
  const azure = (credentials: Parameters<typeof azureStore>[0]['credentials']) =>
    azureStore({ ...container, endpoint: `${endpoint}/acct`, credentials }, environment, {
      info: () => {},
      warn: () => {},
    })
  const stores: Readonly<Record<string, () => Store>> = {
    'S3 with a session': s3,
    'Azure with a key': () => azure({ kind: 'key', account: 'acct', key }),
    'Google with a service account': () =>
      gcsStore({ ...bucket, endpoint, serviceAccountFile: join(folder, 'account.json') }, environment, () => {}),
    'Azure with a signature': () => azure({ kind: 'sas', sas: `sv=2022-11-02&sp=rw&sig=${encodeURIComponent(sas)}` }),
  }

  for (const [name, open] of Object.entries(stores))
    for (const [how, page] of Object.entries(pages))
      it(`${how}, betrays nothing of ${name}`, async () => {
        const store = open()
        for (const status of [200, 403, 404, 502])
          for (const [verb, call] of Object.entries(verbs)) {
            seen.clear()
            let said = ''
            answer = ({ method, url = '', headers }, response) => {
              const { searchParams } = new URL(url, endpoint)
              const secrets = [...secretsIn(headers, searchParams.toString())]
              for (const secret of secrets) seen.add(secret)
              const repeated = [`${method} ${url}`, ...Object.entries(headers).map(pair => pair.join(': '))]
              said = page(repeated)
              response.writeHead(status, { 'content-type': 'text/plain' }).end(method === 'HEAD' ? undefined : said)
            }
            const error = await call(store).then(
              () => undefined,
              (cause: unknown) => cause,
            )
            if (!(error instanceof Fault)) continue // the check of S3 takes a refusal for an absence
            assert.ok(seen.size > 0, 'the request had a secret')
            for (const secret of [...seen, session, sas, key])
              assert.ok(!betrays(error.describe(), secret), `${verb}, ${status}: ${error.describe()}`)
          }
        await store.close()
      })
  it('for a token betrays nothing of what it was asked with', async () => {
    const dispatcher = network({
      ...limits,
      caFile: undefined,
      proxy: undefined,
      noProxy: [],
      store: endpoint,
      warn: () => {},
      info: () => {},
    })
    const services = new TokenServices(dispatcher, () => true)
    let said = ''
    answer = (request, response) => {
      const { headers, url } = request
      response.writeHead(400).end(`${url} ${JSON.stringify(headers)} ${asked}`)
    }
    let asked = ''
    const names = ['client_secret', 'client_assertion', 'refresh_token', 'code', 'password', 'WebIdentityToken', 'sig']
    const forms = names.map(name => `grant_type=x&${name}=${encodeURIComponent(session)}`)
    for (asked of [...forms, JSON.stringify({ clientSecret: session, refreshToken: session })]) {
      const headers = { authorization: `Bearer ${session}`, 'x-amz-sso_bearer_token': session }
      const url = new URL(`${endpoint}/?token=${encodeURIComponent(session)}`)
      said = (await services.ask({ url, method: 'POST', headers, body: asked, signal: undefined })).body.toString()
      assert.ok(said.length > 20 && !betrays(said, session), said)
    }
    await dispatcher.destroy()
  })
})
