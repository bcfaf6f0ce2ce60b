/** REST calls, jobs and metrics on a worker connection; in the real Orthanc they are tested in test/live. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import type { Job, JobKind, JsonObject, StepOutcome } from '../src/orthanc.ts'
import { serveCalls } from '../src/wire/call.ts'
import { Connection } from '../src/wire/connection.ts'
import { AnswerKind, INLINE_BYTES, Kind, pack, unpack, Verb } from '../src/wire/frames.ts'
import { httpReplies } from '../src/wire/http-replies.ts'
import { Jobs } from '../src/wire/jobs.ts'
import { type Handler, json, jsonOf } from '../src/wire/router.ts'
import type { Services } from '../src/wire/service-calls.ts'
import { type PeerConnection, PluginPeer, type Reply } from './support/peer.ts'

const GET = 1
const POST = 2

describe('packed texts', () => {
  it('come back as they were', () => {
    for (const texts of [[], [''], ['a', '', 'ü'.repeat(300)]]) assert.deepEqual(unpack(pack(...texts)), texts)
  })
  it('are refused when cut', () => {
    const payload = pack('one', 'two')
    for (const end of [1, 3, 4, 6, 8, 13]) assert.throws(() => unpack(payload.subarray(0, end)), { code: 'Internal' })
  })
})

describe('the services of an engine', () => {
  let plugin: PluginPeer
  let peer: PeerConnection
  let served: Promise<void>
  let handler: Handler
  let step: (this: Job, ...rest: Parameters<Job['step']>) => Promise<StepOutcome>
  let told: string[]
  let jobs: Jobs

  const kind: JobKind = {
    type: 'Test',
    restore(state) {
      if (state['bad']) throw new Fault('BadRequest', 'not one of ours')
      told.push(`restore ${JSON.stringify(state)}`)
      const job: Job = {
        content: () => ({ shown: state['n'] }),
        progress: () => Number(state['n']) / 4,
        serialize: () => state,
        step: (orthanc, signal) => step.call(job, orthanc, signal),
        stop: async () => void told.push('stop'),
        reset: () => void told.push('reset'),
      }
      return job
    },
  }

  beforeEach(async () => {
    told = []
    handler = async () => json({})
    step = async () => 'continue'
    jobs = new Jobs(kind)
    const services: Services = {
      area: undefined as never,
      routes: [
        { pattern: '/a', methods: { GET: async () => json('first') } },
        { pattern: '/(a|b)/?(x)?', methods: { GET: (...all) => handler(...all), POST: (...all) => handler(...all) } },
      ],
      jobs,
      metrics: () => new Map([['one', 2 ** 53 - 1]]),
    }
    plugin = await new PluginPeer().listen()
    const connection = await Connection.open(plugin.path)
    served = serveCalls(connection, services)
    peer = await plugin.accept()
  })

  afterEach(async () => {
    peer.socket.destroy()
    await served
    plugin.close()
  })

  describe('routes', () => {
    const seen = () => {
      const requests: Parameters<Handler>[0][] = []
      handler = async request => {
        requests.push(request)
        return json({})
      }
      return requests
    }

    it('match the whole URI, the first that does', async () => {
      const requests = seen()
      assert.equal((await peer.rest(GET, '/a')).result.toString(), '"first"\n')
      await peer.rest(GET, '/b/x')
      await peer.rest(GET, '/b')
      assert.deepEqual(
        requests.map(({ uri, groups }) => [uri, groups]),
        [
          ['/b/x', ['b', 'x']],
          ['/b', ['b', '']],
        ],
      )
      for (const uri of ['/bb', '/x/b', '/b/xx']) {
        const { flags, argument } = await peer.rest(GET, uri)
        assert.deepEqual([flags, argument], [AnswerKind.error, 17])
      }
    })

    it('see the method', async () => {
      const requests = seen()
      await peer.rest(POST, '/b', Buffer.from('{}'))
      assert.equal(requests[0]?.method, 'POST')
    })

    it('say which methods they have', async () => {
      const { flags, text, result } = await peer.rest(4, '/b')
      assert.deepEqual([flags, text, result.byteLength], [AnswerKind.methodNotAllowed, 'GET,POST', 0])
    })

    it('read a body as JSON, also one that must be pulled', async () => {
      handler = async request => json(((await jsonOf(request)) as string).length)
      const large = await peer.rest(POST, '/b', Buffer.from(JSON.stringify('x'.repeat(900_000))))
      assert.deepEqual([large.result.toString(), large.pulls], ['900000\n', 2])
      const broken = await peer.rest(POST, '/b', Buffer.from('{'))
      assert.deepEqual([broken.flags, broken.argument], [AnswerKind.error, 8])
      assert.match(broken.text, /is not JSON/)
    })

    it('are refused when the call is shorter than the content that travels with it', async () => {
      const requests = seen()
      const frames = [
        ['/b', 3],
        ['', 1],
        ['/b', INLINE_BYTES],
      ] as const
      for (const [payload, argument] of frames) {
        peer.send(Kind.call, { flags: Verb.rest, status: POST, argument }, payload)
        const { kind, status } = await peer.receive()
        assert.deepEqual([kind, status], [Kind.return, httpReplies.Internal.number])
      }
      assert.equal(requests.length, 0)
      await peer.rest(POST, '/b', Buffer.from('{}'))
      assert.equal(requests.length, 1)
    })

    it('tell a defect of ours to the log only', async () => {
      handler = async () => {
        throw new Error('oops')
      }
      const { status, text } = await peer.rest(GET, '/b')
      assert.deepEqual([status, text], [httpReplies.Internal.number, 'oops [Internal]'])
      assert.equal((await peer.rest(GET, '/a')).status, 0)
    })
  })

  describe('calls of Orthanc', () => {
    const asking = async (reply: Reply) => {
      peer.orthanc = reply
      handler = async (_request, orthanc, signal) => json({ got: (await orthanc.get('/system', signal)) ?? 'absent' })
      return await peer.rest(GET, '/b')
    }

    it('bring JSON', async () => {
      const { result } = await asking(({ kind, flags, texts }) => {
        assert.deepEqual([kind, flags, texts], [Kind.upcall, GET, ['/system', '']])
        return [{ status: 200 }, '{"a":[1]}']
      })
      assert.deepEqual(JSON.parse(result.toString()), { got: { a: [1] } })
    })

    for (const fields of [{ status: 404 }, { argument: 17 }, { argument: 7 }])
      it(`know that nothing is there from ${JSON.stringify(fields)}`, async () => {
        assert.match((await asking(() => [fields, ''])).result.toString(), /"absent"/)
      })

    for (const [fields, code] of [
      [{ flags: 1 }, 'Canceled'],
      [{ status: 503 }, 'Unavailable'],
      [{ argument: 36 }, 'Unavailable'],
      [{ status: 413 }, 'TooLarge'],
      [{ status: 500 }, 'Internal'],
      [{ argument: 1 }, 'Internal'],
    ] as const)
      it(`turn ${JSON.stringify(fields)} into ${code}`, async () => {
        assert.equal((await asking(() => [fields, ''])).status, httpReplies[code].number)
      })

    it('refuse an answer that is not JSON', async () => {
      assert.equal((await asking(() => [{ status: 200 }, '<html>'])).status, httpReplies.Internal.number)
    })

    it('submit a job with its priority', async () => {
      peer.orthanc = ({ kind, argument, texts }) => {
        assert.deepEqual([kind, argument - 2 ** 31, texts], [Kind.submit, -3, ['{"shown":2}', '{"n":2}']])
        return [{ status: 200 }, 'the-id']
      }
      handler = async (_request, orthanc, signal) => json(await orthanc.submit(kind.restore({ n: 2 }), -3, signal))
      assert.equal((await peer.rest(POST, '/b')).result.toString(), '"the-id"\n')
      handler = async (_request, orthanc, signal) => json(await orthanc.submit(kind.restore({ n: 2 }), 2 ** 31, signal))
      assert.equal((await peer.rest(POST, '/b')).argument, 8)
    })

    it('take turns, and the answer waits for those that nobody awaits', async () => {
      const asked: string[] = []
      peer.orthanc = ({ texts }) => {
        asked.push(texts[0] as string)
        return [{ status: 200 }, '1']
      }
      handler = async (_request, orthanc, signal) => {
        for (const uri of ['/1', '/2', '/3']) void orthanc.get(uri, signal)
        await orthanc.get('/4', signal)
        void orthanc.get('/5', signal)
        return json('done')
      }
      assert.equal((await peer.rest(GET, '/b')).result.toString(), '"done"\n')
      assert.deepEqual(asked, ['/1', '/2', '/3', '/4', '/5'])
    })

    it('reach nobody once the answer has been given', async () => {
      peer.orthanc = () => [{ status: 200 }, '1']
      let late: () => Promise<unknown> = async () => undefined
      handler = async (_request, orthanc, signal) => {
        late = () => orthanc.get('/late', signal)
        return json({})
      }
      await peer.rest(GET, '/b')
      peer.orthanc = undefined // from now on a question is out of turn
      void late()
      await assert.rejects(late(), { code: 'Canceled' })
      assert.equal((await peer.rest(GET, '/a')).status, 0)
    })

    it('that are too large for a frame are refused, and the caller hears so', async () => {
      const large = { n: 2, ids: 'x'.repeat(17_000_000) }
      handler = async (_request, orthanc, signal) => json(await orthanc.submit(kind.restore(large), 0, signal))
      const { flags, argument, text } = await peer.rest(POST, '/b')
      assert.deepEqual([flags, argument], [AnswerKind.error, 8])
      assert.match(text, /are more than Orthanc takes at once/)
      handler = async (_request, orthanc, signal) => json(await orthanc.post('/x', large.ids, signal))
      assert.equal((await peer.rest(POST, '/b')).argument, 8)
      assert.equal((await peer.rest(GET, '/a')).status, 0)
    })

    it('end when Orthanc gives up waiting', async () => {
      const ended = Promise.withResolvers<unknown>()
      handler = async (_request, orthanc, signal) => {
        await orthanc.get('/1', signal).catch(ended.resolve)
        return json({})
      }
      peer.send(Kind.call, { flags: Verb.rest, status: GET }, '/b')
      await peer.receive()
      peer.socket.destroy()
      assert.equal(Fault.from(await ended.promise).code, 'Canceled')
    })
  })

  describe('jobs', () => {
    const texts = (result: Buffer) => unpack(result).map(text => JSON.parse(text) as JsonObject)

    it('are built from their text, once, and give back what Orthanc shows and keeps', async () => {
      const { flags, argument, result } = await peer.job(Verb.jobStep, 7, '{"n":1,"Type":"Test"}')
      assert.deepEqual([flags, argument, texts(result)], [3, 250_000, [{ shown: 1 }, { n: 1 }]])
      await peer.job(Verb.jobStep, 7, '{"n":1}')
      await peer.job(Verb.jobStep, 8, '{"n":2}')
      assert.deepEqual(told, ['restore {"n":1}', 'restore {"n":2}'])
      assert.equal(jobs.running.length, 2)
    })

    it('end with success or failure', async () => {
      step = async () => 'success'
      assert.equal((await peer.job(Verb.jobStep, 7, '{"n":4}')).flags, 1)
      step = async () => 'failure'
      assert.equal((await peer.job(Verb.jobStep, 7, '{"n":4}')).flags, 2)
    })

    it('are told that they stop', async () => {
      await peer.job(Verb.jobStep, 7, '{"n":1}')
      assert.equal((await peer.job(Verb.jobStop, 7, '{"n":1}')).status, 0)
      assert.equal(told.at(-1), 'stop')
      assert.equal(jobs.running.length, 0)
    })

    it('are reset and restored without running', async () => {
      await peer.job(Verb.jobReset, 7, '{"n":3}')
      assert.deepEqual(told, ['restore {"n":3}', 'reset'])
      await peer.job(Verb.jobRestore, 7, '{"n":3}')
      assert.equal(jobs.running.length, 0)
    })

    it('are refused when their text is not understood', async () => {
      for (const text of ['{"bad":1}', '[]', 'nonsense', ''])
        assert.equal((await peer.job(Verb.jobRestore, 7, text)).status, httpReplies.BadRequest.number)
    })

    it('may ask Orthanc in a step, and go on later when it stops', async () => {
      peer.orthanc = () => [{ flags: 1 }, '']
      step = async (orthanc, signal) => ((await orthanc.get('/', signal)) ? 'success' : 'failure')
      assert.deepEqual([(await peer.job(Verb.jobStep, 7, '{"n":1}')).flags, jobs.running.length], [3, 1])
    })

    it('fail with the line that says why', async () => {
      step = async () => {
        throw new Fault('Denied', 'no permission')
      }
      const { status, text } = await peer.job(Verb.jobStep, 7, '{"n":1}')
      assert.deepEqual([status, text], [httpReplies.Denied.number, 'no permission [Denied]'])
    })

    it('have texts of any size', async () => {
      const state = JSON.stringify({ n: 1, ids: 'x'.repeat(2_000_000) })
      const { result, pulls } = await peer.job(Verb.jobStep, 7, state)
      assert.deepEqual([unpack(result)[1], pulls], [state, 4])
    })
  })

  it('give the values of metrics', async () => {
    await peer.refreshMetrics()
    assert.deepEqual([...peer.metrics], [['one', 2 ** 53 - 1]])
  })
})
