/**
 * AWS's default chain, as far as it can be had without AWS: profiles, and stubs of STS, SSO, S3 and the metadata
 * service.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, it } from 'node:test'
import { Agent } from 'undici'
import type { Fault } from '../src/fault.ts'
import type { HttpClient } from '../src/stores/network/client.ts'
import { network } from '../src/stores/network/network.ts'
import { overUndici } from '../src/stores/network/over-undici.ts'
import { s3Signing } from '../src/stores/s3/auth.ts'
import { type S3Options, s3Store } from '../src/stores/s3/s3.ts'
import { withRetry } from '../src/stores/wrappers/retry.ts'
import { type FakeInternet, fakeInternet } from './support/fake-internet.ts'
import { s3Options } from './support/s3-options.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { listen, undo } from './support/undo.ts'

/** Nothing of this machine's own credentials, and no metadata service. */
function environment(variables: Record<string, string>): void {
  const own = Object.keys(process.env).filter(name => /^(AWS_|HTTPS?_PROXY$|NO_PROXY$|KUBERNETES_)/i.test(name))
  const before = own.map(name => [name, process.env[name]] as const)
  for (const name of own) delete process.env[name]
  Object.assign(process.env, { AWS_EC2_METADATA_DISABLED: 'true', ...variables })
  undo.push(() => {
    for (const name of ['AWS_EC2_METADATA_DISABLED', ...Object.keys(variables)]) delete process.env[name]
    Object.assign(process.env, Object.fromEntries(before))
  })
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ocs-aws-'))
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
})
const profile = (config = '', more: Record<string, string> = {}) => {
  writeFileSync(join(folder, 'config'), config)
  environment({
    AWS_SHARED_CREDENTIALS_FILE: join(folder, 'credentials'),
    AWS_CONFIG_FILE: join(folder, 'config'),
    HOME: folder,
    ...more,
  })
}
const webIdentity = (more: Record<string, string> = {}) => {
  writeFileSync(join(folder, 'token'), 'a-web-identity')
  profile('', {
    AWS_ROLE_ARN: 'arn:aws:iam::1:role/orthanc',
    AWS_WEB_IDENTITY_TOKEN_FILE: join(folder, 'token'),
    ...more,
  })
}

type Script = (request: IncomingMessage, response: ServerResponse, nth: number) => void
async function serve(script: Script): Promise<string> {
  let count = 0
  const server = createServer((request, response) => {
    request.resume().on('end', () => script(request, response, ++count))
  })
  return `http://127.0.0.1:${await listen(server)}`
}

const stsAnswer = (nth: number, minutes: number) =>
  `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>` +
  `<AccessKeyId>KEY${nth}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t${nth}</SessionToken>` +
  `<Expiration>${new Date(Date.now() + minutes * 60_000).toISOString()}</Expiration>` +
  `</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`
const xml = (response: ServerResponse, status: number, text: string) =>
  response.writeHead(status, { 'content-type': 'text/xml' }).end(text)

const signing = (warn: (line: string) => void = () => {}) =>
  s3Signing(undefined, { region: 'eu-west-1', dispatcher: agent(), warn })
function agent(): HttpClient {
  const dispatcher = new Agent()
  undo.push(() => dispatcher.destroy())
  return overUndici(dispatcher)
}
function own<T extends { close(): Promise<void> }>(closable: T): T {
  undo.push(() => closable.close())
  return closable
}
const until = async (condition: () => boolean | Promise<boolean>) => {
  while (!(await condition())) await new Promise(resolve => setImmediate(resolve))
}

describe("credentials of AWS's default chain", () => {
  const write = (key: string) =>
    writeFileSync(
      join(folder, 'credentials'),
      `[default]\naws_access_key_id = ${key}\naws_secret_access_key = secret-of-${key}\n`,
    )

  it('follow a profile that is written again, without a restart, and survive its absence', async t => {
    profile()
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const warnings: string[] = []
    const { keys } = signing(line => warnings.push(line))
    const key = async () => (await keys(never)).accessKeyId
    write('ONE')
    assert.equal(await key(), 'ONE')
    write('TWO')
    assert.equal(await key(), 'ONE') // not looked at with every request
    t.mock.timers.tick(61_000)
    await until(async () => (await key()) === 'TWO')
    rmSync(join(folder, 'credentials'))
    t.mock.timers.tick(61_000)
    await until(async () => (await key()) === 'TWO' && warnings.length === 1)
    write('THREE')
    t.mock.timers.tick(61_000)
    await until(async () => (await key()) === 'THREE')
  })

  it('say what to do when there are none', async () => {
    profile()
    await assert.rejects(signing().keys(never), { code: 'Denied', remedy: /Set AccessKey and SecretKey/ })
  })

  it('name the hop limit where a container is likely', async () => {
    profile('', { KUBERNETES_SERVICE_HOST: '10.0.0.1' })
    await assert.rejects(signing().keys(never), { code: 'Denied', remedy: /HttpPutResponseHopLimit to 2/ })
  })

  it('are Unavailable while the metadata service is late, and come when it is there', async () => {
    let there = false
    const endpoint = await serve(({ url, method }, response) => {
      if (!there) return response.writeHead(503).end()
      if (method === 'PUT') return response.end('session')
      if (!url?.endsWith('/role')) return response.end('role')
      const keys = { AccessKeyId: 'META', SecretAccessKey: 's', Token: 't' }
      return response.end(JSON.stringify({ ...keys, Expiration: new Date(Date.now() + 3600_000).toISOString() }))
    })
    profile('', { AWS_EC2_METADATA_DISABLED: 'false', AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint })
    const { keys } = signing()
    await assert.rejects(keys(never), { code: 'Unavailable', retryable: true, message: /metadata service/ })
    there = true
    assert.equal((await keys(never)).accessKeyId, 'META')
  })

  it('are Unavailable when nobody answers for STS, or with 503', async () => {
    for (const endpoint of ['http://127.0.0.1:1', await serve((_, response) => xml(response, 503, '<Error/>'))]) {
      webIdentity({ AWS_ENDPOINT_URL_STS: endpoint })
      await assert.rejects(signing().keys(never), (fault: Fault) => {
        assert.equal(fault.code, 'Unavailable')
        assert.ok(fault.retryable)
        assert.match(fault.message, /no credentials: .*(ECONNREFUSED|HTTP 503)/)
        return true
      })
    }
  })

  it('name the authority that is missing when nobody trusts STS', async () => {
    const net = await fakeInternet([], () => {})
    undo.push(() => net.close())
    webIdentity({ AWS_ENDPOINT_URL_STS: `https://127.0.0.1:${net.port}` })
    await assert.rejects(signing().keys(never), { code: 'Denied', retryable: false, remedy: /HttpsCACertificates/ })
  })

  it('are Denied when STS says so', async () => {
    const endpoint = await serve((_, response) =>
      xml(
        response,
        403,
        '<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>',
      ),
    )
    webIdentity({ AWS_ENDPOINT_URL_STS: endpoint })
    await assert.rejects(signing().keys(never), { code: 'Denied', retryable: false, message: /Not authorized/ })
  })

  it('keep nobody waiting for an STS that has gone silent while they are good', async t => {
    let silent = 0
    const endpoint = await serve((_, response, nth) => {
      if (nth === 1) xml(response, 200, stsAnswer(1, 6))
      else silent++
    })
    webIdentity({ AWS_ENDPOINT_URL_STS: endpoint })
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const { keys } = signing()
    assert.equal((await keys(never)).accessKeyId, 'KEY1')
    t.mock.timers.tick(4 * 60_000)
    await until(async () => (await keys(never)).accessKeyId === 'KEY1' && silent === 1)
  })
})

describe('requests to STS and SSO', () => {
  const keys = (net: FakeInternet) => {
    const dispatcher = network({
      connectTimeoutMs: 5000,
      maxConnections: 2,
      caFile: net.caFile,
      proxy: net.proxy,
      noProxy: [],
      store: 'https://ceph.hospital.example',
      info: () => {},
      warn: () => {},
    })
    undo.push(() => dispatcher.destroy())
    return s3Signing(undefined, { region: 'eu-west-1', dispatcher, warn: () => {} }).keys(never)
  }
  const internet = async (hosts: string[], answer: Parameters<typeof fakeInternet>[1]) => {
    const net = await fakeInternet(hosts, answer)
    undo.push(() => net.close())
    return net
  }
  const STS = 'sts.eu-west-1.amazonaws.com'

  it('go through the proxy and trust the authorities: a web identity', async () => {
    const net = await internet([STS], (_, response) => xml(response, 200, stsAnswer(1, 60)))
    webIdentity()
    assert.equal((await keys(net)).sessionToken, 't1')
    assert.deepEqual(
      net.connects.map(({ to }) => to),
      [`${STS}:443`],
    )
    assert.match(net.visits[0]?.body ?? '', /WebIdentityToken=a-web-identity/)
  })

  it('go through the proxy and trust the authorities: a web identity of a profile', async () => {
    const net = await internet([STS], (_, response) => xml(response, 200, stsAnswer(1, 60)))
    writeFileSync(join(folder, 'token'), 'a-web-identity')
    profile(`[default]\nrole_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = ${join(folder, 'token')}\n`)
    assert.equal((await keys(net)).sessionToken, 't1')
    assert.deepEqual(
      net.connects.map(({ to }) => to),
      [`${STS}:443`],
    )
  })

  it('go through the proxy and trust the authorities: a role assumed from keys', async () => {
    const net = await internet([STS], (_, response) =>
      xml(response, 200, stsAnswer(1, 60).replaceAll('AssumeRoleWithWebIdentity', 'AssumeRole')),
    )
    profile('[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = base\n')
    writeFileSync(join(folder, 'credentials'), '[base]\naws_access_key_id = A\naws_secret_access_key = S\n')
    assert.equal((await keys(net)).sessionToken, 't1')
    assert.deepEqual(
      net.connects.map(({ to }) => to),
      [`${STS}:443`],
    )
  })

  it('go through the proxy and trust the authorities: SSO, in its own region', async () => {
    const host = 'portal.sso.us-west-2.amazonaws.com'
    const roleCredentials = {
      accessKeyId: 'SSO',
      secretAccessKey: 's',
      sessionToken: 't',
      expiration: Date.now() + 3600_000,
    }
    const net = await internet([host], (_, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ roleCredentials })),
    )
    const url = 'https://hospital.awsapps.com/start'
    profile(`[default]\nsso_start_url = ${url}\nsso_region = us-west-2\nsso_account_id = 1\nsso_role_name = orthanc\n`)
    const cache = join(folder, '.aws', 'sso', 'cache')
    mkdirSync(cache, { recursive: true })
    const token = { accessToken: 'secret', expiresAt: new Date(Date.now() + 3600_000).toISOString() }
    writeFileSync(join(cache, `${createHash('sha1').update(url).digest('hex')}.json`), JSON.stringify(token))
    assert.equal((await keys(net)).accessKeyId, 'SSO')
    assert.deepEqual(
      net.connects.map(({ to }) => to),
      [`${host}:443`],
    )
  })
})

describe('credentials that S3 does not take any more', () => {
  const options: S3Options = {
    ...s3Options,
    bucket: 'b',
    region: 'eu-west-1',
    credentials: undefined,
    connectTimeoutMs: 5000,
    requestTimeoutMs: 20_000,
    maxConnections: 4,
    maxRetries: 2,
  }
  /** S3 that takes what was signed with `good`, and STS that hands out KEY1, KEY2, ... */
  async function open(good: (key: string) => boolean, code = 'ExpiredToken') {
    const keysOfSts = await serve((_, response, nth) => {
      handedOut = nth
      xml(response, 200, stsAnswer(nth, 60))
    })
    let handedOut = 0
    const seen: string[] = []
    const endpoint = await serve(({ method, url, headers }, response) => {
      const key = /Credential=(\w+)/.exec(headers.authorization ?? '')?.[1] ?? ''
      seen.push(`${method} ${url} ${key}`)
      if (good(key))
        return response.writeHead(method === 'DELETE' ? 204 : 200, { etag: '"e"', 'x-amz-request-id': 'R' }).end()
      const text = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`
      return method === 'HEAD' ? response.writeHead(400).end() : xml(response, 400, text)
    })
    webIdentity({ AWS_ENDPOINT_URL_STS: keysOfSts })
    const store = own(
      withRetry({ maxRetries: 2, firstDelayMs: 1 }, () => {})(
        s3Store({ ...options, endpoint }, { caFile: undefined, proxy: undefined, probeKey: 'p' }, () => {}),
      ),
    )
    return { store, seen, asked: () => handedOut }
  }

  for (const code of ['ExpiredToken', 'InvalidToken', 'InvalidAccessKeyId'])
    it(`are dropped after ${code}, and the request is repeated with new ones`, async () => {
      const { store, seen, asked } = await open(key => key === 'KEY2', code)
      await store.remove('x', never)
      assert.deepEqual(seen, ['DELETE /b/x KEY1', 'DELETE /b/x KEY2'])
      await store.remove('y', never)
      assert.equal(asked(), 2)
    })

  it('are dropped once however many requests find out', async () => {
    const { store, asked } = await open(key => key === 'KEY2')
    await Promise.all(['v', 'w', 'x', 'y', 'z'].map(key => store.remove(key, never)))
    assert.equal(asked(), 2)
  })

  it('are dropped after the 400 of a HEAD, which has no words', async () => {
    const { store, seen } = await open(key => key === 'KEY2')
    await store.stat('x', never).catch(() => {}) // what the stub says of the object is not the matter here
    assert.ok(seen.at(-1)?.endsWith('KEY2'), seen.join())
  })

  it('are dropped when a body that streams is refused, which is then read again', async () => {
    const { store, seen } = await open(key => key === 'KEY2')
    await store.put('x', chunked(noise(2 * 1024 * 1024)), never).catch((fault: Fault) => {
      // What S3 stubs leave out of a receipt is not the matter here.
      if (seen.length < 2) throw fault
    })
    assert.equal(seen.at(-1), 'PUT /b/x KEY2')
  })

  it('are told when new ones are refused as well, and STS is not asked for ever', async () => {
    const { store, seen, asked } = await open(() => false)
    await assert.rejects(store.remove('x', never), { code: 'Denied' })
    await assert.rejects(store.remove('x', never), { code: 'Denied' })
    assert.equal(seen.length, 3)
    assert.equal(asked(), 2)
  })
})
