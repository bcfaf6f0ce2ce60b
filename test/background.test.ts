/** The standing call, against the plugin's side played by peer.ts; in the real Orthanc it is tested in test/live. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import type { Background } from '../src/wire/background.ts'
import { serveCalls } from '../src/wire/call.ts'
import { Connection } from '../src/wire/connection.ts'
import { Kind, StartFlag } from '../src/wire/frames.ts'
import { httpReplies } from '../src/wire/http-replies.ts'
import { Server } from '../src/wire/server.ts'
import type { Services } from '../src/wire/service-calls.ts'
import { type PeerConnection, PluginPeer } from './support/peer.ts'

const nothing = { area: undefined as never }

describe('the standing call', () => {
  let plugin: PluginPeer
  let ended: (() => Promise<void>)[]

  beforeEach(async () => {
    plugin = await new PluginPeer().listen()
    ended = []
  })
  afterEach(async () => {
    for (const end of ended) await end()
    plugin.close()
  })

  /** One more connection to an engine with these services. */
  async function connected(services: Services): Promise<PeerConnection> {
    const served = serveCalls(await Connection.open(plugin.path), services)
    const peer = await plugin.accept()
    ended.push(async () => {
      peer.socket.destroy()
      await served
    })
    return peer
  }

  it('carries any number of requests, one after the other, until the engine ends it', async () => {
    const peer = await connected({
      ...nothing,
      background: async (orthanc, signal) => {
        const many = Array.from({ length: 50 }, (_, i) => orthanc.get(`/${i}`, signal))
        const answers: unknown[] = await Promise.all(many)
        answers.push(await orthanc.post('/tools/lookup', '1.2.3', signal), await orthanc.post('/x', { a: 1 }, signal))
        assert.deepEqual(answers, [...Array.from({ length: 50 }, (_, i) => [`/${i}`, '']), ...posted])
      },
    })
    const posted = [
      ['/tools/lookup', '1.2.3'],
      ['/x', '{"a":1}'],
    ]
    peer.orthanc = ({ texts }) => [{ status: 200 }, JSON.stringify(texts)]
    const { status, text } = await peer.stand()
    assert.deepEqual([status, text], [0, ''])
    assert.equal((await peer.rest(1, '/nowhere')).status, 0, 'the connection cannot be used again')
  })

  it('ends with one line when the work fails, and harms nothing', async () => {
    const peer = await connected({
      ...nothing,
      background: async () => {
        throw new Fault('Internal', 'that went wrong', { where: { verb: 'look ahead' } })
      },
    })
    const { status, text } = await peer.stand()
    assert.equal(status, httpReplies.Internal.number)
    assert.match(text, /^cannot look ahead: that went wrong/)
    assert.equal((await peer.rest(1, '/nowhere')).status, 0)
  })

  it('tells the work when Orthanc stops, or the connection breaks', async () => {
    const reasons = Promise.withResolvers<unknown[]>()
    const peer = await connected({
      ...nothing,
      background: async (orthanc, signal) => {
        const stopping = await orthanc.get('/1', signal).catch(Fault.from)
        const broken = await orthanc.get('/2', signal).catch(Fault.from)
        if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve))
        reasons.resolve([stopping, broken, signal.reason, await orthanc.get('/3', signal).catch(Fault.from)])
      },
    })
    peer.orthanc = ({ texts }) => {
      if (texts[0] === '/2') peer.socket.destroy()
      return [{ flags: 1 }, '']
    }
    await assert.rejects(peer.stand())
    for (const reason of await reasons.promise) assert.equal(Fault.from(reason).code, 'Canceled')
  })

  it('takes no jobs', async () => {
    const peer = await connected({
      ...nothing,
      background: async (orthanc, signal) => void (await orthanc.submit({} as never, 0, signal)),
    })
    assert.match((await peer.stand()).text, /a job is submitted during the request that asks for it/)
  })

  it('runs the work once at a time', async () => {
    const told: string[] = []
    const aborted = Promise.withResolvers<void>()
    const rest = Promise.withResolvers<void>()
    let runs = 0
    const background: Background = async (_orthanc, signal) => {
      const run = ++runs
      told.push(`begin ${run}`)
      if (run === 1) {
        signal.addEventListener('abort', () => aborted.resolve())
        await rest.promise // it takes its time to end
        told.push('end 1')
        throw signal.reason
      }
    }
    const first = await connected({ ...nothing, background })
    const cut = first.stand()
    const second = await connected({ ...nothing, background })
    first.socket.destroy()
    await assert.rejects(cut)
    await aborted.promise
    const stands = second.stand()
    const third = await connected({ ...nothing, background }) // what it does comes after what the second has done
    assert.equal((await third.rest(1, '/nowhere')).status, 0)
    assert.deepEqual(told, ['begin 1'])
    rest.resolve()
    assert.equal((await stands).status, 0)
    assert.deepEqual(told, ['begin 1', 'end 1', 'begin 2'])
  })

  it('is asked for by an engine that has such work, and by no other', async () => {
    for (const background of [undefined, async () => {}]) {
      const server = await Server.connect(plugin.path, '0')
      const control = await plugin.accept()
      await control.receive()
      void server.configuration()
      const services = { ...nothing, ...(background && { background }) }
      void server.accept('stores', { callDeadlineMs: 1000, ranges: false, services })
      const answer = (await control.start({})).at(-1)
      assert.equal(answer?.kind, Kind.return)
      assert.equal(answer?.flags, StartFlag.on | (background ? StartFlag.background : 0))
      control.socket.destroy()
      await server.gone
    }
    const peer = await connected(nothing)
    assert.equal((await peer.stand()).status, httpReplies.Internal.number)
  })
})
