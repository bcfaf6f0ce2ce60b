import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { StorageArea } from '../src/area/area.ts'
import { checkedContent, collect, type Source, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { serveCalls } from '../src/wire/call.ts'
import { Connection } from '../src/wire/connection.ts'
import { type Header, Kind, Verb } from '../src/wire/frames.ts'
import { httpReplies } from '../src/wire/http-replies.ts'
import { type PeerConnection, PluginPeer } from './support/peer.ts'
import { sha256 } from './support/sha256.ts'

const pattern = (size: number) =>
  Buffer.alloc(
    size,
    Uint8Array.from({ length: 251 }, (_, i) => i),
  )

/** The least an area can be; what the stores do is tested by their own suite. */
function areaOf(files: Map<string, Buffer>): StorageArea {
  return {
    name: 'test',
    async create(attachment, body) {
      files.set(attachment.uuid + attachment.type, await collect({ size: body.size, body: body.open() }))
    },
    async read(attachment, range) {
      const file = files.get(attachment.uuid + attachment.type)
      if (!file) throw new Fault('NotFound', 'no such file', { where: { verb: 'read', key: attachment.uuid } })
      const part = sourceOf(file)
      return range
        ? checkedContent(range.end - range.start, part.open(range))
        : checkedContent(file.byteLength, part.open())
    },
    async deliver(attachment, range, use, signal) {
      return await use(await this.read(attachment, range, signal))
    },
    async remove(attachment) {
      files.delete(attachment.uuid + attachment.type)
    },
  }
}

describe('a worker connection', () => {
  const uuid = randomUUID()
  let files: Map<string, Buffer>
  let area: StorageArea
  let plugin: PluginPeer
  let peer: PeerConnection
  let served: Promise<void>

  let connection: Connection

  const connect = async () => {
    connection = await Connection.open(plugin.path)
    served = serveCalls(connection, { area: { ...area } })
    peer = await plugin.accept()
  }

  beforeEach(async () => {
    files = new Map()
    area = areaOf(files)
    plugin = await new PluginPeer().listen()
    await connect()
  })

  afterEach(async () => {
    peer.socket.destroy()
    await served
    plugin.close()
  })

  for (const size of [0, 1, 16, 65_536, 262_143, 262_144, 262_145, 1_048_577, 5_000_000])
    it(`carries ${size} bytes there and back`, async () => {
      const content = pattern(size)
      assert.equal((await peer.create(uuid, 1, content)).status, 0)
      assert.equal(sha256((await peer.read(uuid, 1)).result), sha256(content))
      if (size > 2) assert.deepEqual((await peer.readRange(uuid, 1, 1, size - 2)).result, content.subarray(1, -1))
    })

  it('pulls large content and no small one, and refuses a call that is not of its length', async () => {
    for (const [size, pulls] of [
      [262_144, 0],
      [262_145, 1],
    ] as const)
      assert.equal((await peer.create(uuid, 1, pattern(size))).pulls, pulls)
    const wrong: [Partial<Header>, Buffer][] = [
      [{ flags: Verb.create, argument: 100 }, pattern(0)], // small content stays away
      [{ flags: Verb.create, argument: 100 }, pattern(99)],
      [{ flags: Verb.create, argument: 100 }, pattern(101)],
      [{ flags: Verb.create, argument: 262_145 }, pattern(262_145)], // large content travels along
      [{ flags: Verb.read }, pattern(1)],
      [{ flags: Verb.readRange }, pattern(7)],
      [{ flags: Verb.readRange }, pattern(9)],
      [{ flags: Verb.remove }, pattern(1)],
    ]
    for (const [fields, rest] of wrong) {
      peer.send(Kind.call, { status: 1, ...fields }, Buffer.concat([Buffer.from(uuid), rest]))
      const { kind, status } = await peer.receive()
      assert.deepEqual([kind, status], [Kind.return, httpReplies.Internal.number])
    }
    assert.equal(files.get(`${uuid}dicom`)?.byteLength, 262_145)
  })

  it('tells the content types apart', async () => {
    for (const [type, name] of ['unknown', 'dicom', 'dicom-as-json', 'dicom-until-pixel-data'].entries()) {
      await peer.create(uuid, type, pattern(type))
      assert.deepEqual(files.get(uuid + name), pattern(type))
    }
    await peer.remove(uuid, 2)
    assert.equal(files.has(`${uuid}dicom-as-json`), false)
  })

  it('answers an empty range without asking the store', async () => {
    assert.deepEqual(await peer.readRange(uuid, 1, 7, 0), {
      status: 0,
      flags: 0,
      argument: 0,
      text: '',
      result: Buffer.alloc(0),
      pulls: 0,
      reserves: 1,
    })
  })

  it('returns a fault as its number and one line, and serves the next call', async () => {
    const outcome = await peer.read(uuid, 1)
    assert.equal(outcome.status, httpReplies.NotFound.number)
    assert.equal(outcome.text, `cannot read '${uuid}': no such file [NotFound]`)
    assert.equal((await peer.create(uuid, 1, pattern(9))).status, 0)
  })

  it('reserves once, also when a body begins with nothing', async () => {
    async function* body() {
      yield Buffer.alloc(0)
      yield pattern(9)
    }
    area.read = async () => checkedContent(9, body())
    peer.socket.destroy()
    await served
    await connect()
    const { result, reserves } = await peer.read(uuid, 1)
    assert.deepEqual([result, reserves], [pattern(9), 1])
  })

  /** Each connection looks up the area's methods once. */
  const connectAnew = async () => {
    peer.socket.destroy()
    await served
    await connect()
  }

  it('delivers again from the first byte what turned out wrong', async () => {
    area.deliver = async (_attachment, _range, use) => {
      const wrong = async function* () {
        yield pattern(5)
        throw new Fault('Corrupt', 'the digest differs')
      }
      await use(checkedContent(9, wrong())).catch(() => {})
      await use(checkedContent(4, sourceOf(pattern(4)).open())) // of another size, even
      return await use(checkedContent(7, sourceOf(pattern(7)).open()))
    }
    await connectAnew()
    const { status, result, reserves } = await peer.read(uuid, 1)
    assert.deepEqual([status, result, reserves], [0, pattern(7), 3])
  })

  it('lets only the last delivery speak', async () => {
    let stale: Promise<unknown> = Promise.resolve()
    area.deliver = async (_attachment, _range, use) => {
      const stopped = Promise.withResolvers<void>()
      const slow = async function* () {
        yield pattern(5)
        await stopped.promise
        yield pattern(4)
      }
      stale = use(checkedContent(9, slow())).catch(error => error)
      const last = use(checkedContent(7, sourceOf(pattern(7)).open()))
      stopped.resolve()
      return await last
    }
    await connectAnew()
    assert.deepEqual((await peer.read(uuid, 1)).result, pattern(7))
    assert.equal(Fault.from(await stale).code, 'Canceled')
  })

  for (const [what, size] of [
    ['shorter', 10],
    ['longer', 8],
  ] as const)
    it(`never returns ok when a body is ${what} than announced`, async () => {
      area.deliver = async (_attachment, _range, use) => await use({ size, body: sourceOf(pattern(9)).open() })
      await connectAnew()
      assert.equal((await peer.read(uuid, 1)).status, httpReplies.Internal.number)
      assert.equal((await peer.remove(uuid, 1)).status, 0)
    })

  it('takes a chunk larger than a frame apart', async () => {
    const large = pattern(17 * 1024 * 1024)
    area.deliver = async (_attachment, _range, use) =>
      await use(checkedContent(large.byteLength, sourceOf(large).open()))
    await connectAnew()
    assert.equal(sha256((await peer.read(uuid, 1)).result), sha256(large))
  })

  describe('when a call has ended', () => {
    const canceled = async (late: Promise<unknown>) =>
      assert.equal(
        Fault.from(
          await late.then(
            () => 'it was served',
            error => error,
          ),
        ).code,
        'Canceled',
      )

    it('no pull of it reaches the next one', async () => {
      let chunks: AsyncIterator<Uint8Array> | undefined
      area.create = async (_attachment, body) => {
        chunks = body.open()[Symbol.asyncIterator]()
        await chunks.next()
        throw new Fault('Denied', 'the store refuses')
      }
      await connectAnew()
      assert.equal((await peer.create(uuid, 1, pattern(2_000_000))).status, httpReplies.Denied.number)
      await canceled((chunks as AsyncIterator<Uint8Array>).next())
      assert.equal((await peer.remove(uuid, 1)).status, 0) // throws at a frame out of turn
    })

    it('no reader that waited for its turn is served', async () => {
      const readers: Promise<unknown>[] = []
      area.create = async (_attachment, body) => {
        for (let part = 0; part < 4; part++) {
          const start = part * 1_000_000
          readers.push(collect({ size: 1_000_000, body: body.open({ start, end: start + 1_000_000 }) }))
        }
        for (const reader of readers) reader.catch(() => {})
        throw new Fault('Denied', 'the store refuses')
      }
      await connectAnew()
      const { status, pulls } = await peer.create(uuid, 1, pattern(4_000_000))
      assert.equal(status, httpReplies.Denied.number)
      assert.ok(pulls <= 1)
      for (const reader of readers) await canceled(reader)
      assert.equal((await peer.remove(uuid, 1)).status, 0)
    })

    it('no delivery of it reaches the next one', async () => {
      const more = Promise.withResolvers<void>()
      let late: Promise<unknown> = Promise.resolve()
      area.deliver = async (_attachment, _range, use) => {
        const slow = async function* () {
          yield pattern(5)
          await more.promise
          yield pattern(4)
        }
        late = use(checkedContent(9, slow()))
        late.catch(() => {})
        throw new Fault('Timeout', 'the deadline passed')
      }
      await connectAnew()
      assert.equal((await peer.read(uuid, 1)).status, httpReplies.Timeout.number)
      more.resolve()
      await canceled(late)
      assert.equal((await peer.remove(uuid, 1)).status, 0)
    })

    it('with a failure, its signal says so to whatever is still under way', async () => {
      let seen: AbortSignal | undefined
      area.remove = async (_attachment, signal) => {
        seen = signal
        throw new Fault('Denied', 'no')
      }
      await connectAnew()
      await peer.remove(uuid, 1)
      await peer.create(uuid, 1, pattern(1))
      assert.equal(seen?.aborted, true)
    })

    it('because the plugin is gone, the last bytes of a body harm nobody', async () => {
      const gone = Promise.withResolvers<void>()
      const begun = Promise.withResolvers<void>()
      area.deliver = async (_attachment, _range, use) => {
        begun.resolve()
        await gone.promise
        return await use(checkedContent(3, sourceOf(pattern(3)).open()))
      }
      await connectAnew()
      peer.send(Kind.call, { flags: Verb.read, status: 1 }, uuid)
      await begun.promise
      peer.socket.destroy()
      await connection.closed
      gone.resolve()
      await served // a rejection without an owner would fail this test
    })
  })

  it('has one owner of each frame', async () => {
    const first = connection.receive(Kind.call).catch(error => error)
    assert.equal(Fault.from(await first).code, 'Internal')
    await assert.rejects(connection.receiveInto(Buffer.alloc(1), 0), { code: 'Internal' })
    assert.equal((await peer.remove(uuid, 1)).status, 0)
  })

  it('refuses to send what no frame holds, and goes on', async () => {
    await assert.rejects(async () => await connection.send(Kind.fill, {}, Buffer.alloc(16 * 1024 * 1024 + 1)), {
      code: 'TooLarge',
    })
    assert.equal((await peer.remove(uuid, 1)).status, 0)
  })

  it('cuts the text of a fault to what the plugin keeps, between two characters', async () => {
    area.remove = async () => {
      throw new Fault('Denied', 'é'.repeat(10_000_000))
    }
    await connectAnew()
    assert.equal((await peer.remove(uuid, 1)).text, 'é'.repeat(2048))
    assert.equal((await peer.create(uuid, 1, pattern(1))).status, 0)
  })

  it('never returns ok when a body breaks in the middle', async () => {
    area.read = async () => checkedContent(10, sourceOf(pattern(9)).open())
    peer.socket.destroy()
    await served
    await connect()
    assert.equal((await peer.read(uuid, 1)).status, httpReplies.Corrupt.number)
  })

  it('lets parallel readers of one source share the connection', async () => {
    const content = pattern(3_000_001)
    const seen: string[] = []
    area.create = async (_attachment, body: Source) => {
      const half = 1_500_000
      const ranges = [
        { start: 0, end: half },
        { start: half, end: body.size },
        { start: 0, end: body.size },
      ]
      const parts = ranges.map(range => collect({ size: range.end - range.start, body: body.open(range) }))
      for (const part of await Promise.all(parts)) seen.push(sha256(part))
    }
    peer.socket.destroy()
    await served
    await connect()
    assert.equal((await peer.create(uuid, 1, content)).status, 0)
    assert.deepEqual(seen, [content.subarray(0, 1_500_000), content.subarray(1_500_000), content].map(sha256))
  })

  it('does not return before a pull that was abandoned has been answered', async () => {
    area.create = async (_attachment, body) => {
      void body.open()[Symbol.asyncIterator]().next()
      throw new Fault('Unavailable', 'the store went away')
    }
    peer.socket.destroy()
    await served
    await connect()
    assert.equal((await peer.create(uuid, 1, pattern(300_000))).status, httpReplies.Unavailable.number)
    assert.equal((await peer.remove(uuid, 1)).status, 0)
  })

  it('aborts the work when the plugin closes the connection', async () => {
    const aborted = Promise.withResolvers<unknown>()
    const begun = Promise.withResolvers<void>()
    area.remove = (_attachment, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.resolve(signal.reason)
          reject(signal.reason)
        })
        begun.resolve()
      })
    peer.socket.destroy()
    await served
    await connect()
    peer.send(Kind.call, { flags: Verb.remove, status: 1 }, uuid)
    await begun.promise
    peer.socket.destroy()
    assert.ok(Fault.from(await aborted.promise).code === 'Canceled')
  })

  for (const [what, send] of [
    ['a frame of unknown kind', () => peer.socket.write(Buffer.alloc(16, 0xff))],
    ['data that nobody asked for', () => peer.send(Kind.data, {}, pattern(10))],
    ['a call with a cut UUID', () => peer.send(Kind.call, { flags: Verb.read }, 'short')],
  ] as const)
    it(`does not survive ${what} as a success`, async () => {
      send()
      const answer = await peer.receive().catch(() => undefined)
      assert.ok(answer === undefined || answer.status === httpReplies.Internal.number)
    })
})
