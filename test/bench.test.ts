/** The bench's own arithmetic, and the parts of it that stand for something else: a network, a server, a plot. */
import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { after, describe, it } from 'node:test'
import { deflateSync } from 'node:zlib'
import { XMLValidator } from 'fast-xml-parser'
import { imageOf } from '../bench/image.ts'
import type { Spent } from '../bench/speed/bed.ts'
import { compared, median, type Row, rateOf, type SpeedLoad } from '../bench/speed/load.ts'
import { withSection } from '../bench/speed/page.ts'
import { plot } from '../bench/speed/plot.ts'
import { speedLoads } from '../bench/speed/run.ts'
import { tableOf, targetLinesOf } from '../bench/speed/tables.ts'

const none = {
  orthancCpu: 0,
  engineCpu: 0,
  enginePeak: undefined,
  requests: undefined,
  sentBytes: undefined,
} satisfies Omit<Spent, 'seconds'>
const row = (subject: string, round: number, seconds: number, more: Partial<Spent> = {}): Row => ({
  what: 'reads',
  subject,
  round,
  count: 10,
  spent: { seconds, ...none, ...more },
})
const load = (targets: SpeedLoad['targets']): SpeedLoad => ({
  name: 'some-load',
  title: 'Some load',
  text: 'What it is.',
  base: 'theirs',
  holds: subject => subject === 'ours',
  targets,
  async *measure() {},
})

describe('comparisons of the bench', () => {
  it('are made within a round, and only there', () => {
    const rows = [row('ours', 0, 1), row('theirs', 0, 2), row('ours', 1, 10), row('theirs', 1, 30), row('ours', 2, 1)]
    assert.equal(compared(rows, 'reads', ['ours', 'theirs']), 3)
    assert.equal(median(rows, 'reads', 'ours', rateOf), 10)
    assert.equal(compared([row('ours', 0, 1), row('theirs', 1, 1)], 'reads', ['ours', 'theirs']), undefined)
    assert.equal(
      compared(rows, 'reads', ['ours', 'theirs'], ({ spent }) => spent.requests),
      undefined,
    )
  })

  it('meet a target or not; what is no number meets none, and what was not measured is not judged', () => {
    const beside = { what: 'reads', subject: 'ours', beside: 'theirs' }
    const bytes = ({ spent }: Row) => spent.sentBytes
    const rows = [row('ours', 0, 1, { sentBytes: 0 }), row('theirs', 0, 2, { sentBytes: 0 })]
    const judged = (targets: SpeedLoad['targets']) => targetLinesOf(load(targets), rows).map(line => line.slice(0, 7))
    assert.deepEqual(judged([{ ...beside, least: 2 }]), ['met    '])
    assert.deepEqual(judged([{ ...beside, least: 2.01 }]), ['NOT MET'])
    assert.deepEqual(judged([{ ...beside, most: 1.99 }]), ['NOT MET'])
    assert.deepEqual(judged([{ ...beside, value: bytes, most: 1.3 }]), ['NOT MET'])
    assert.deepEqual(judged([{ ...beside, value: bytes, least: 1.3 }]), ['NOT MET'])
    assert.deepEqual(judged([{ ...beside, beside: 'nobody', least: 1 }]), [])
  })

  it("judge the engine's memory in every load, with what read-ahead may hold on top", () => {
    const judged = (subject: string, enginePeak: number) =>
      targetLinesOf(load([]), [row(subject, 0, 1, { enginePeak: 1 }), row(subject, 1, 1, { enginePeak })])
    assert.match(judged('theirs', 301)[0] ?? '', /^NOT MET .*301/)
    assert.match(judged('theirs', 300)[0] ?? '', /^met/)
    assert.match(judged('ours', 364)[0] ?? '', /^met/)
    assert.match(judged('ours', 365)[0] ?? '', /^NOT MET/)
  })

  it('have a column for each figure that something has', () => {
    const [head = '', , ours = '', theirs = ''] = tableOf(load([]), [
      row('ours', 0, 1, { requests: 400 }),
      row('theirs', 0, 2),
    ])
    assert.match(head, /\| requests \|/)
    assert.doesNotMatch(head, /\| MB \|/)
    assert.match(ours, /\| 400 \|.*\| 2\.00 \|$/)
    assert.match(theirs, /\| – \|.*\| 1\.00 \|$/)
  })
})

describe('docs/speed.md', () => {
  const page = readFileSync(join(import.meta.dirname, '..', 'docs', 'speed.md'), 'utf8')

  it('has a part for each load, which a run replaces and leaves the rest as it is', () => {
    for (const one of speedLoads) {
      const once = withSection(page, { ...one, text: 'MEASURED' }, [], 'on a machine')
      assert.match(once, /MEASURED[\s\S]*on a machine/)
      assert.equal(withSection(once, { ...one, text: 'MEASURED' }, [], 'on a machine'), once)
      const others = (text: string) => text.replace(/(<!-- measured: (\S+) -->)[\s\S]*?(<!-- end of \2 -->)/g, '$1$3')
      assert.equal(others(once), others(page))
    }
  })

  it('is not written when its marks are not there', () => {
    assert.throws(() => withSection(page, load([]), [], ''), /measured: some-load/)
    const turned = '<!-- end of some-load --> <!-- measured: some-load -->'
    assert.throws(() => withSection(turned, load([]), [], ''), /measured: some-load/)
  })
})

describe('the plot', () => {
  const points = [0, 20, 80].map(ms => ({ ms, filesPerSecond: 400 / (1 + ms) }))
  const curves = [
    { name: 'one & <first>', points },
    { name: 'second', points: points.map(({ ms }) => ({ ms, filesPerSecond: 300 })) },
  ]

  it('is SVG with labelled axes, named curves and numbers', async () => {
    const svg = await plot(curves, 700)
    assert.equal(XMLValidator.validate(svg), true)
    for (const text of [
      'one &amp; &lt;first&gt;',
      'second',
      'files a second',
      'round trip',
      "Orthanc's own disk",
      '>19<',
    ])
      assert.ok(svg.includes(text), text)
    assert.doesNotMatch(svg, /NaN|undefined|Infinity/)
  })

  it('is seen on dark and on light pages', async () => {
    const svg = await plot(curves, 700)
    assert.match(svg, /prefers-color-scheme:dark/)
    assert.doesNotMatch(svg, /fill="(#000|#fff|black|white)/i)
  })

  it('goes without the disk, and without one of the curves', async () => {
    const svg = await plot(
      [
        { name: 'empty', points: [] },
        { name: 'second', points },
      ],
      undefined,
    )
    assert.doesNotMatch(svg, /own disk|NaN|undefined|Infinity/)
  })
})

describe("the bench's images", () => {
  it('compress to about a half, when they are slices, and differ by their seed only', () => {
    const [one, two] = [1, 2].map(seed => imageOf({ seed, rows: 332, columns: 332, study: 1, slice: true }))
    assert.ok(one && two)
    assert.notDeepEqual(one, two)
    const ratio = deflateSync(one).length / one.length
    assert.ok(ratio > 0.3 && ratio < 0.6, String(ratio))
  })
})

const helpers: ChildProcess[] = []
after(() => {
  for (const child of helpers) child.kill('SIGKILL')
})

async function helper(name: string, ...args: string[]): Promise<{ child: ChildProcess; port: number }> {
  const file = join(import.meta.dirname, '..', 'bench', name)
  const child = fork(file, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  helpers.push(child)
  const [data] = await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')
  return { child, port: Number(data) }
}

describe("the bench's network", () => {
  it('carries all bytes in their order, both ways, and then the end', async () => {
    const echo = createServer({ allowHalfOpen: true }, socket => socket.pipe(socket)).listen(0, '127.0.0.1')
    await once(echo, 'listening')
    try {
      const { port } = await helper('delay-proxy.ts', String((echo.address() as AddressInfo).port), '4')
      const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff))
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      for (let at = 0; at < sent.length; at += 99_999) socket.write(sent.subarray(at, at + 99_999))
      socket.end()
      assert.ok((await buffer(socket)).equals(sent))
    } finally {
      echo.close()
    }
  })

  it('ends the connection when its server is not there', async () => {
    const gone = createServer().listen(0, '127.0.0.1')
    await once(gone, 'listening')
    const { port: nobody } = gone.address() as AddressInfo
    gone.close()
    await once(gone, 'close')
    const { port } = await helper('delay-proxy.ts', String(nobody), '0')
    const socket = connect({ port, host: '127.0.0.1' })
    socket.on('error', () => {})
    await once(socket, 'close')
  })
})

describe("the bench's stub of S3", () => {
  it('counts requests, the bytes of its answers, and objects, until it forgets', async () => {
    const { child, port } = await helper('s3-stub.ts')
    const count = async () => {
      child.send('count')
      const [counts] = await once(child, 'message')
      return counts
    }
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ask = async (method: string, body?: string) => {
      const sent = request({ port, host: '127.0.0.1', path: '/bench/key', method, agent }).end(body)
      const [answer] = await once(sent, 'response')
      return (await buffer(answer)).length
    }
    await ask('PUT', 'x'.repeat(1000))
    const stored = await count()
    assert.deepEqual([stored.requests, stored.objects, stored.underWay], [1, 1, 0])
    assert.equal(await ask('GET'), 1000)
    const read = await count()
    const bytes = read.sentBytes - stored.sentBytes
    assert.ok(bytes >= 1000 && bytes < 1500, String(bytes))
    child.send('forget')
    assert.deepEqual([(await count()).objects, read.requests], [0, 2])
    agent.destroy()
  })
})
