/** Many requests at once over few connections, while servers break them and callers give up: none is forgotten. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ask, get, linksTo, OK, serve } from './support/bare-server.ts'
import { fc } from './support/property.ts'

/** What a server may do with a request, by the path. */
const behaviours: Readonly<Record<string, (socket: Socket) => unknown>> = {
  answers: socket => socket.write(OK),
  'answers later': async socket => {
    await turn()
    await turn()
    socket.write(OK)
  },
  'answers and ends': socket => socket.end(OK),
  'answers and resets': socket => {
    socket.write(OK)
    socket.resetAndDestroy()
  },
  'says that it closes': socket => socket.end(OK.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n')),
  'answers twice': socket => socket.write(OK + OK),
  'resets at once': socket => socket.resetAndDestroy(),
  'ends at once': socket => socket.end(),
  'ends in the head': socket => socket.end(OK.slice(0, 20)),
  'ends in the body': socket => socket.end(OK.slice(0, -1)),
  'answers nonsense': socket => socket.write('nonsense'),
}

const request = fc.record({
  behaviour: fc.constantFrom(...Object.keys(behaviours)),
  body: fc.constantFrom(undefined, 'x', 'streamed'),
  /** After so many turns of the event loop. */
  aborts: fc.option(fc.nat({ max: 4 }), { nil: undefined, freq: 2 }),
  reads: fc.constantFrom('all', 'nothing', 'the beginning'),
  pause: fc.nat({ max: 2 }),
})

describe('a crowd of requests', () => {
  it('all end, and leave the connections as they were', async () => {
    const { port } = await serve((socket, head) => {
      const [, name = ''] = /^\w+ \/(\S+)/.exec(head) ?? []
      void behaviours[decodeURIComponent(name)]?.(socket)
    })
    const crowd = fc.array(request, { minLength: 1, maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(crowd, fc.integer({ min: 1, max: 4 }), async (all, maxConnections) => {
        const links = linksTo(port, { maxConnections })
        const one = async ({ behaviour, body, aborts, reads }: (typeof all)[number]) => {
          const abort = new AbortController()
          if (aborts !== undefined)
            void (async () => {
              for (let i = 0; i < aborts; i++) await turn()
              abort.abort(new Error('not wanted'))
            })()
          const sent = body === 'streamed' ? streamed() : body
          const answer = await links.request({
            ...get,
            path: `/${encodeURIComponent(behaviour)}`,
            signal: abort.signal,
            method: sent === undefined ? 'GET' : 'PUT',
            ...(sent !== undefined && { body: sent, headers: { 'content-length': '1' } }),
          })
          if (reads === 'nothing') answer.body.destroy()
          else if (reads === 'all') assert.equal(Buffer.from(await answer.body.bytes()).toString(), 'ok')
          else for await (const _ of answer.body) break
        }
        const asked: Promise<void>[] = []
        for (const each of all) {
          for (let i = 0; i < each.pause; i++) await turn()
          asked.push(one(each))
          asked.at(-1)?.catch(() => {})
        }
        for (const outcome of await Promise.allSettled(asked))
          if (outcome.status === 'rejected')
            assert.ok(!(outcome.reason instanceof assert.AssertionError), outcome.reason)
        // As many as allowed still work at once.
        const after = Array.from({ length: maxConnections * 2 }, () => ask(links, { ...get, path: '/answers' }))
        for (const answer of await Promise.all(after)) assert.deepEqual(answer, [200, 'ok'])
        await links.destroy()
      }),
      { numRuns: Number(process.env['RUNS'] ?? 60) },
    )
  })
})

async function* streamed() {
  await turn()
  yield Buffer.from('x')
}
