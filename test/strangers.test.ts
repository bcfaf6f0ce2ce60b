/** Answers that are not the store's prove nothing: no absence, no success. All providers, all verbs. */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { collect } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import type { Store } from '../src/stores/store.ts'
import { providers } from './support/clouds.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { cloudOfTest } from './support/undo.ts'

type Answer = readonly [status: number, headers: Record<string, string>, body: string]

const page = '<html><head><title>Please accept our terms</title></head></html>'
const html = { 'content-type': 'text/html' }
const strange: Readonly<Record<string, Answer>> = {
  'an ingress without a backend': [404, { 'content-type': 'text/plain' }, 'default backend - 404'],
  'a reverse proxy without a route': [404, { 'content-type': 'text/plain' }, '404 page not found\n'],
  'a web server': [404, { ...html, server: 'nginx' }, '<html><title>404 Not Found</title></html>'],
  'a 404 without a word': [404, {}, ''],
  'a 410 without a word': [410, {}, ''],
  'a firewall': [403, html, '<html><title>Access to this site is blocked</title></html>'],
  'a proxy that wants a login': [401, html, '<html><title>Login</title></html>'],
  'a captive portal': [200, html, page],
  'a captive portal with a tag of its own': [200, { ...html, etag: '"5f3-61a"' }, page],
  'a 200 without a word': [200, {}, ''],
  'a 204 without a word': [204, {}, ''],
  'JSON of somebody else': [404, { 'content-type': 'application/json' }, '{"code":404,"message":"no route"}'],
  "JSON of somebody else's in Google's way": [
    404,
    { 'content-type': 'application/json' },
    '{"error":{"code":404,"message":"Route not found","status":"NOT_FOUND"}}',
  ],
  'a redirect to a portal': [302, { location: 'http://portal.example/login' }, ''],
  'a damaged error': [404, { 'content-type': 'application/xml' }, '<Error><Code>NoSu'],
  'a page as large as a book': [503, html, `<html>${'x'.repeat(200_000)}`],
}
const verbs: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
  put: store => store.put('k', chunked(noise(1000)), never),
  get: async store => collect(await store.get('k', undefined, never)),
  'get of a range': async store => collect(await store.get('k', { start: 0, end: 5 }, never)),
  stat: store => store.stat('k', never),
  remove: store => store.remove('k', never),
  list: async store => {
    for await (const _ of store.list('', never));
  },
}

const answering =
  ([status, headers, body]: Answer) =>
  (response: ServerResponse) => {
    for (const name of response.getHeaderNames()) response.removeHeader(name)
    response.writeHead(status, headers).end(body)
    return true
  }

for (const provider of providers)
  describe(`strangers in place of ${provider}`, () => {
    for (const [who, answer] of Object.entries(strange))
      for (const [verb, call] of Object.entries(verbs))
        it(`${who} is no answer to ${verb}, and it is asked again`, async () => {
          const cloud = await cloudOfTest(provider)
          const stranger = answering(answer)
          cloud.meddle = (_, response) => stranger(response)
          const fault = await call(cloud.store).then(
            value => assert.fail(`it was believed: ${value}`),
            error => error,
          )
          assert.equal(fault.code, 'Unavailable', fault.describe())
          assert.ok(cloud.seen.length > 1, 'it was asked again')
          assert.match(fault.describe(), /does not come from the store|redirects/)
        })

    for (const [verb, call] of Object.entries(verbs))
      it(`a page of somebody else's with a tag is no answer to ${verb}, once the store was met`, async () => {
        const cloud = await cloudOfTest(provider)
        await cloud.store.put('k', chunked(noise(1000)), never)
        await call(cloud.store)
        const stranger = answering([200, { 'content-type': 'application/json', etag: 'W/"f-1a"' }, '{"status":"up"}'])
        cloud.meddle = (_, response) => stranger(response)
        await assert.rejects(
          call(cloud.store),
          verb === 'put' ? Fault : { code: 'Unavailable', message: /the answer has no/ },
        )
      })

    for (const text of ['{"status":"up"}', '{"items":[]}', page])
      it(`${text} is no answer to the check, nor to list`, async () => {
        const cloud = await cloudOfTest(provider, { maxRetries: 0 })
        const stranger = answering([200, { 'content-type': 'application/json' }, text])
        cloud.meddle = (_, response) => stranger(response)
        for (const call of [() => cloud.store.check(never), () => verbs['list']?.(cloud.store)])
          await assert.rejects(async () => call(), { code: 'Unavailable' })
      })

    it('a page with a tag in answer to the first write of all is no acknowledgement', async () => {
      const cloud = await cloudOfTest(provider)
      const stranger = answering([200, { 'content-type': 'application/json', etag: 'W/"f-1a"' }, '{"status":"up"}'])
      cloud.meddle = (_, response) => stranger(response)
      await assert.rejects(cloud.store.put('k', chunked(noise(1000)), never))
    })

    it('a page that repeats what it was asked betrays no signature', async () => {
      const cloud = await cloudOfTest(provider)
      const said = 'Cannot GET /k?sv=2024&amp;sig=c2VjcmV0%3D&X-Amz-Signature=secret, Authorization: Bearer secret'
      const stranger = answering([404, { 'content-type': 'text/plain' }, said])
      cloud.meddle = (_, response) => stranger(response)
      const fault = await cloud.store.get('k', undefined, never).catch(error => error)
      assert.doesNotMatch(fault.describe(), /secret|c2VjcmV0/)
      assert.match(fault.describe(), /Cannot GET \/k\?sv=2024/)
    })

    it('a stranger in between does no harm once the store answers again', async () => {
      const cloud = await cloudOfTest(provider)
      const stranger = answering([404, {}, 'default backend - 404'])
      const met = new Set<string>()
      cloud.meddle = ({ line }, response, done) =>
        !done && !met.has(line) && Boolean(met.add(line)) && stranger(response)
      await cloud.store.put('k', chunked(noise(1000)), never)
      assert.deepEqual(await collect(await cloud.store.get('k', undefined, never)), noise(1000))
      assert.equal((await cloud.store.stat('k', never))?.size, 1000)
      await cloud.store.remove('k', never)
      assert.equal(await cloud.store.stat('k', never), undefined)
      assert.equal(cloud.objects.size, 0)
    })
  })
