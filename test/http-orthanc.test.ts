/** Orthanc's REST API over HTTP: what each answer means, and what no message shows. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import { HttpOrthanc } from '../src/orthanc-index/http-orthanc.ts'
import { never } from './support/store.suite.ts'
import { listen } from './support/undo.ts'

const ways = { caFile: undefined, proxy: undefined, noProxy: [], warn: assert.fail, firstDelayMs: 1 }
const PASSWORD = 'S3cr3tM4rk3r:ü'
const PATIENT = 'Somebody^Real'

type Answers = (request: IncomingMessage, response: ServerResponse, nth: number) => unknown

describe('Orthanc over HTTP', () => {
  const asking = async (answers: Answers, more: object = {}) => {
    let nth = 0
    const port = await listen(createServer((request, response) => answers(request, response, ++nth)))
    const url = `http://127.0.0.1:${port}/behind/a/proxy/`
    const orthanc = new HttpOrthanc({ url, user: { name: 'u', password: PASSWORD }, ...ways, ...more })
    return { orthanc, count: () => nth, url }
  }
  const always = (status: number, text: string): Answers => {
    return (_, response) => response.writeHead(status).end(text)
  }
  const described = JSON.stringify({ HttpStatus: 404, OrthancStatus: 17, Message: 'Unknown resource' })

  it('asks below the path of its URL, with user and password in a header, and sends what is posted', async () => {
    const heads: unknown[] = []
    const { orthanc, url } = await asking(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      heads.push([request.method, request.url, request.headers.authorization, body])
      response.end('["a"]')
    })
    assert.deepEqual(await orthanc.get('/patients', never), ['a'])
    await orthanc.post('/tools/find', { Level: 'Ü' }, never)
    await orthanc.post('/tools/lookup', '1.2', never)
    const basic = `Basic ${Buffer.from(`u:${PASSWORD}`).toString('base64')}`
    assert.deepEqual(heads, [
      ['GET', '/behind/a/proxy/patients', basic, ''],
      ['POST', '/behind/a/proxy/tools/find', basic, '{"Level":"Ü"}'],
      ['POST', '/behind/a/proxy/tools/lookup', basic, '1.2'],
    ])
    assert.equal(orthanc.name, `Orthanc at ${url.replace(/\/$/, '')}`)
    await orthanc.close()
  })

  for (const [what, text] of [
    ['describes', described],
    ['leaves empty', ''],
  ] as const)
    it(`takes a 404 that Orthanc ${what} for an absence`, async () => {
      const { orthanc } = await asking(always(404, text))
      assert.equal(await orthanc.get('/series/x', never), undefined)
      await assert.rejects(orthanc.post('/tools/find', {}, never), { code: 'NotFound' })
      await orthanc.close()
    })

  for (const [status, text, code] of [
    [404, '<html>nginx</html>', 'Internal'],
    [404, '404 page not found', 'Internal'],
    [404, '{"error": "no route"}', 'Internal'],
    [401, '', 'Denied'],
    [403, '', 'Denied'],
    [302, '', 'BadConfig'],
    [400, PATIENT, 'BadRequest'],
    [500, PATIENT, 'Internal'],
    [200, `[{"PatientName": "${PATIENT}"`, 'Internal'],
    [200, `${PATIENT}`, 'Internal'],
  ] as const)
    it(`takes ${status} with ${JSON.stringify(text)} for ${code}, once, and shows nothing of it`, async () => {
      const { orthanc, count } = await asking(always(status, text))
      for (const ask of [() => orthanc.get('/system', never), () => orthanc.post('/tools/find', {}, never)])
        await assert.rejects(ask, (error: Fault) => {
          assert.ok(error instanceof Fault)
          assert.equal(error.code, code)
          assert.doesNotMatch(error.describe() + String(error.cause), /S3cr3t|Somebody|Basic/)
          return true
        })
      assert.equal(count(), 2)
      await orthanc.close()
    })

  for (const [what, trouble] of [
    ['503', (_, response) => response.writeHead(503).end()],
    ['a connection that breaks', request => request.socket.destroy()],
    [
      'an answer that is cut off',
      (_, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('["a')
        response.socket?.end()
      },
    ],
  ] as const satisfies readonly (readonly [string, Answers])[])
    it(`asks again after ${what}, some times`, async () => {
      for (const [method, troubles] of [
        ['get', 3],
        ['post', 3],
        ['get', Number.POSITIVE_INFINITY],
      ] as const) {
        const { orthanc, count } = await asking((request, response, nth) =>
          nth <= troubles ? trouble(request, response) : response.end('["a"]'),
        )
        const asked = method === 'get' ? orthanc.get('/patients', never) : orthanc.post('/tools/find', {}, never)
        if (Number.isFinite(troubles)) assert.deepEqual(await asked, ['a'])
        else await assert.rejects(asked, error => error instanceof Fault && /after 5 attempts/.test(error.message))
        assert.ok(count() <= 12, `${count()}`)
        await orthanc.close()
      }
    })

  it('reads no answer that is larger than it may be', async () => {
    const { orthanc } = await asking(always(200, JSON.stringify(['x'.repeat(100)])), { largestBytes: 100 })
    await assert.rejects(orthanc.get('/patients', never), { code: 'TooLarge' })
    await orthanc.close()
  })

  it('ends what is under way when it is told to', async () => {
    const abort = new AbortController()
    const { orthanc } = await asking((_, response) => {
      response.write('[')
      abort.abort()
    })
    await assert.rejects(orthanc.get('/patients', abort.signal), { code: 'Canceled' })
    await orthanc.close()
  })

  it('refuses a URL with a secret, or of something else, and does not show it', () => {
    for (const url of [`http://u:${PASSWORD}@h`, `http://h/?key=${PASSWORD}`, `ftp://h/${PASSWORD}`, PASSWORD, ''])
      assert.throws(
        () => new HttpOrthanc({ url, user: undefined, ...ways }),
        (error: Fault) => error.code === 'BadConfig' && !error.describe().includes('S3cr3t'),
      )
  })
})
