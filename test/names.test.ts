import assert from 'node:assert/strict'
import type { LookupAddress } from 'node:dns'
import { createServer } from 'node:http'
import net from 'node:net'
import { describe, it } from 'node:test'
import { Names } from '../src/stores/network/names.ts'
import { network } from '../src/stores/network/network.ts'

const FOUR = { address: '192.0.2.4', family: 4 }
const SIX = { address: '2001:db8::6', family: 6 }

function scripted() {
  const asked: { name: string; give(addresses: LookupAddress[]): void; fail(code: string): void }[] = []
  const names = new Names((name, done) => {
    asked.push({
      name,
      give: addresses => done(null, addresses),
      fail: code => done(Object.assign(new Error(code), { code }), []),
    })
  })
  const look = (name: string) =>
    new Promise<LookupAddress[]>((resolve, reject) =>
      names.lookup(name, { all: true }, (error, found) => (error ? reject(error) : resolve(found as LookupAddress[]))),
    )
  return { names, asked, look }
}

async function setImmediatesUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}

describe('names', () => {
  it('are looked up once for all who ask, and again after some seconds only', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 0 })
    const { asked, look } = scripted()
    const all = Promise.all([1, 2, 3].map(() => look('minio')))
    asked[0]?.give([FOUR])
    assert.deepEqual(await all, [[FOUR], [FOUR], [FOUR]])
    await look('minio')
    assert.equal(asked.length, 1)
    t.mock.timers.tick(11_000)
    const again = look('minio')
    asked[1]?.give([SIX])
    assert.deepEqual(await again, [SIX])
  })

  it('that were not found are asked for again at once', async () => {
    const { asked, look } = scripted()
    const first = look('minio')
    asked[0]?.fail('ENOTFOUND')
    await assert.rejects(first, { code: 'ENOTFOUND' })
    const second = look('minio')
    asked[1]?.give([FOUR])
    assert.deepEqual(await second, [FOUR])
  })

  it('give one address, or those of one family, to who wants that', async () => {
    const { names, asked } = scripted()
    const one = new Promise(resolve =>
      names.lookup('minio', { family: 4 }, (_error, address, family) => resolve([address, family])),
    )
    asked[0]?.give([SIX, FOUR])
    assert.deepEqual(await one, [FOUR.address, 4])
  })

  it('have the address that did not answer in time behind the others, for a while', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 0 })
    const { names, asked, look } = scripted()
    const first = look('minio')
    asked[0]?.give([SIX, FOUR])
    assert.deepEqual(await first, [SIX, FOUR])
    names.late(SIX.address)
    assert.deepEqual(await look('minio'), [FOUR, SIX])
    t.mock.timers.tick(601_000)
    const later = look('minio')
    asked[1]?.give([SIX, FOUR])
    assert.deepEqual(await later, [SIX, FOUR])
  })

  it('give each address of a host more than the quarter of a second that Node.js gives it', async t => {
    const { names, asked } = scripted()
    const server = createServer((_request, response) => response.writeHead(204).end())
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const origin = `http://store.example:${(server.address() as net.AddressInfo).port}`
    const connect = t.mock.method(net, 'connect')
    for (const [connectTimeoutMs, expected] of [
      [30_000, 3000],
      [3_000, 1000],
    ] as const) {
      const log = { info: () => {}, warn: () => {} }
      const limits = { connectTimeoutMs, maxConnections: 1, caFile: undefined, proxy: undefined, noProxy: [] }
      const dispatcher = network({ ...limits, ...log, store: origin, names })
      const request = dispatcher.request({ origin, path: '/', method: 'GET' })
      if (expected === 3000) {
        await Promise.race([request, setImmediatesUntil(() => asked.length > 0)])
        asked[0]?.give([{ address: '127.0.0.1', family: 4 }])
      }
      assert.equal((await request).statusCode, 204)
      const options = connect.mock.calls.at(-1)?.arguments[0] as unknown as net.TcpNetConnectOpts
      assert.equal(options.autoSelectFamilyAttemptTimeout, expected)
      await dispatcher.destroy()
    }
    await new Promise(resolve => server.close(resolve))
  })

  it('are not kept without bound', async () => {
    const { asked, look } = scripted()
    for (let i = 0; i <= 100; i++) {
      const found = look(`n${i}`)
      asked.at(-1)?.give([FOUR])
      await found
    }
    const first = look('n0')
    assert.equal(asked.length, 102)
    asked.at(-1)?.give([FOUR])
    await first
    await look('n100')
    assert.equal(asked.length, 102)
  })
})
