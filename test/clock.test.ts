/** Machines whose clock is wrong. The clock of this process is moved; the stores are stubs that look at the time. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { azureStore } from '../src/stores/azure/azure.ts'
import { gcsStore } from '../src/stores/gcs/gcs.ts'
import type { Environment } from '../src/stores/http/options.ts'
import { s3Store } from '../src/stores/s3/s3.ts'
import type { Store } from '../src/stores/store.ts'
import { withRetry } from '../src/stores/wrappers/retry.ts'
import { s3Options } from './support/s3-options.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { listen, undo } from './support/undo.ts'

const MINUTE = 60_000

/** A store that refuses what is not signed with its own time, give or take 15 minutes. */
async function serve(
  timeOf: (request: IncomingMessage) => number,
  refuse: (response: ServerResponse) => void,
  clock: { now: number },
) {
  const times: number[] = []
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.setHeader('date', new Date(clock.now).toUTCString())
      times.push(timeOf(request))
      if (Math.abs((times.at(-1) ?? 0) - clock.now) > 15 * MINUTE) refuse(response)
      else
        response.writeHead(204, { 'x-amz-request-id': '1', 'x-ms-request-id': '1', 'x-guploader-uploadid': '1' }).end()
    })
  })
  return { endpoint: `http://127.0.0.1:${await listen(server)}`, times }
}

const limits = { connectTimeoutMs: 5000, requestTimeoutMs: 20_000, maxConnections: 2, maxRetries: 2 }

type Kind = Parameters<typeof serve>[0] extends (request: infer R) => number
  ? {
      time: (request: R) => number
      refuse: (response: ServerResponse) => void
      open: (endpoint: string, environment: Environment) => Store
    }
  : never

const ofS3 = (text: unknown) => {
  const [, y, m, d, h, min, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(String(text)) ?? []
  return Date.parse(`${y}-${m}-${d}T${h}:${min}:${s}Z`)
}
const xml = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>m</Message></Error>`

function account(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-clock-'))
  undo.push(() => rmSync(folder, { recursive: true }))
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const file = join(folder, 'account.json')
  writeFileSync(file, JSON.stringify({ type: 'service_account', client_email: 'o@p', private_key: privateKey }))
  return file
}

const kinds: Readonly<Record<string, Kind>> = {
  S3: {
    time: ({ headers }) => ofS3(headers['x-amz-date']),
    refuse: response => response.writeHead(403, { 'content-type': 'application/xml' }).end(xml('RequestTimeTooSkewed')),
    open: (endpoint, environment) =>
      s3Store(
        {
          ...s3Options,
          bucket: 'b',
          region: 'eu-west-1',
          credentials: { accessKeyId: 'AKID', secretAccessKey: 'x' },
          endpoint,
          ...limits,
        },
        environment,
        () => {},
      ),
  },
  Azure: {
    time: ({ headers }) => Date.parse(String(headers['x-ms-date'])),
    refuse: response =>
      response.writeHead(403, { 'x-ms-error-code': 'AuthenticationFailed', 'x-ms-request-id': '1' }).end(),
    open: (endpoint, environment) =>
      azureStore(
        {
          account: 'acct',
          endpoint,
          container: 'images',
          credentials: { kind: 'key', account: 'acct', key: 'c2VjcmV0' },
          createContainer: false,
          accessTier: undefined,
          ...limits,
        },
        environment,
        { info: () => {}, warn: () => {} },
      ),
  },
  Google: {
    time: ({ headers }) => {
      const claims = String(headers.authorization).split('.')[1] ?? ''
      return JSON.parse(Buffer.from(claims, 'base64url').toString()).iat * 1000
    },
    refuse: response =>
      response
        .writeHead(401, { 'content-type': 'application/json' })
        .end(JSON.stringify({ error: { code: 401, message: 'Invalid Credentials' } })),
    open: (endpoint, environment) =>
      gcsStore(
        { bucket: 'b', endpoint, serviceAccountFile: account(), storageClass: undefined, ...limits },
        environment,
        () => {},
      ),
  },
}

describe('a clock that is wrong', () => {
  for (const [name, { time, refuse, open }] of Object.entries(kinds)) {
    const start = async (t: TestContext, off: number) => {
      const clock = { now: Date.parse('2026-05-05T12:00:00Z') }
      t.mock.timers.enable({ apis: ['Date'], now: clock.now + off })
      const { endpoint, times } = await serve(time, refuse, clock)
      const warnings: string[] = []
      const store = withRetry({ maxRetries: 2, firstDelayMs: 1 }, () => {})(
        open(endpoint, { caFile: undefined, proxy: undefined, probeKey: 'p', warn: line => warnings.push(line) }),
      )
      undo.push(() => store.close())
      return { clock, times, warnings, store }
    }

    for (const [what, off] of [
      ['ahead', 20 * MINUTE],
      ['behind', -20 * MINUTE],
      ['a day behind', -24 * 60 * MINUTE],
    ] as const)
      it(`${what}: ${name} tells the time, which is used from then on, with one WARNING`, async t => {
        const { clock, times, warnings, store } = await start(t, off)
        for (const key of ['x', 'y', 'z']) await store.remove(key, never)
        assert.deepEqual(times, [clock.now + off, clock.now, clock.now, clock.now])
        assert.equal(warnings.length, 1)
        assert.match(warnings[0] ?? '', /this machine's clock is \d+ minutes (ahead of|behind) the store's.*NTP/)
      })

    it(`that is put right later: ${name} tells that, too`, async t => {
      const { clock, times, warnings, store } = await start(t, 20 * MINUTE)
      await store.remove('x', never)
      t.mock.timers.setTime(clock.now)
      clock.now += 60 * MINUTE // Google's tokens hold for an hour
      t.mock.timers.setTime(clock.now)
      await store.remove('y', never)
      assert.equal(times.at(-1), clock.now)
      assert.match(warnings.at(-1) ?? '', name === 'Google' && warnings.length === 1 ? /ahead/ : /right again/)
    })

    it(`that is right does not move by ${name}'s refusals`, async t => {
      const { clock, times, warnings, store } = await start(t, 0)
      await store.remove('x', never)
      assert.deepEqual([times, warnings], [[clock.now], []])
    })
  }

  it('a body that streams is read and sent again', async t => {
    const clock = { now: Date.parse('2026-05-05T12:00:00Z') }
    t.mock.timers.enable({ apis: ['Date'], now: clock.now + 30 * MINUTE })
    const { S3 } = kinds
    assert.ok(S3)
    const { endpoint, times } = await serve(S3.time, S3.refuse, clock)
    const store = withRetry({ maxRetries: 2, firstDelayMs: 1 }, () => {})(
      S3.open(endpoint, { caFile: undefined, proxy: undefined, probeKey: 'p', warn: () => {} }),
    )
    undo.push(() => store.close())
    await store.put('x', chunked(noise(2 * 1024 * 1024)), never).catch(() => {}) // the stub gives no receipt
    assert.deepEqual(times.slice(0, 2), [clock.now + 30 * MINUTE, clock.now])
  })

  it("moves by nobody's Date but that of the store's own refusal", async t => {
    const now = Date.parse('2026-05-05T12:00:00Z')
    t.mock.timers.enable({ apis: ['Date'], now })
    for (const [name, { open, time }] of Object.entries(kinds))
      for (const status of [200, 401, 403, 503]) {
        const times: number[] = []
        const server = createServer((request, response) => {
          times.push(time(request))
          response
            .writeHead(status, { date: new Date(0).toUTCString(), 'content-type': 'text/html' })
            .end('<html>portal')
        })
        const warnings: string[] = []
        const endpoint = `http://127.0.0.1:${await listen(server)}`
        const store = open(endpoint, {
          caFile: undefined,
          proxy: undefined,
          probeKey: 'p',
          warn: line => warnings.push(line),
        })
        undo.push(() => store.close())
        for (const key of ['x', 'y']) await store.remove(key, never).catch(() => {})
        assert.deepEqual(warnings, [], `${name} ${status}`)
        assert.ok(times.every(one => one === now))
      }
  })
})
