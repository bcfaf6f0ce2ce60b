/**
 * Frames, and peers that are not our plugin. The engine must outlive each of them, and serve the others as if nothing
 * were.
 */
import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import type { StorageArea } from '../../src/area/area.ts'
import { Fault } from '../../src/fault.ts'
import { cutText, decodeHeader, encodeHeader, Kind, pack, unpack, Verb } from '../../src/wire/frames.ts'
import { Server } from '../../src/wire/server.ts'
import { type PeerConnection, PluginPeer } from '../support/peer.ts'
import { fc } from '../support/property.ts'
import type { Claims } from './claim.ts'
import { servicesInMemory } from './engine-side.ts'

const uuid = (n: number) => `0a1b2c3d-4e5f-4a6b-8c7d-${String(n).padStart(12, '0')}`
const MB = 1024 * 1024

const argument = fc.oneof(
  fc.constantFrom(
    0n,
    1n,
    35n,
    36n,
    262_144n,
    262_145n,
    2n ** 31n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 64n - 1n,
  ),
  fc.bigInt(0n, 700_000n),
)
/** What begins as a call of a file does. */
const filePayload = fc
  .tuple(fc.nat(3), fc.uint8Array({ maxLength: 60 }))
  .map(([n, rest]) => Buffer.concat([Buffer.from(uuid(n)), rest]))
const restPayload = fc
  .tuple(fc.constantFrom('/cloud-storage/status', '/move-storage', 'a', ''), fc.constantFrom('', '{}', '{"a":1}'))
  .map(([uri, body]) => Buffer.from(uri + body))
const payload = fc.oneof(
  filePayload,
  restPayload,
  fc.uint8Array({ maxLength: 100 }),
  fc.constantFrom(5000, 300_000, 600_000).map(size => Buffer.alloc(size, 'x')),
)
const frame = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant<number>(Kind.call) },
    { weight: 4, arbitrary: fc.integer({ min: 1, max: 17 }) },
    { weight: 1, arbitrary: fc.nat(255) },
  ),
  flags: fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 0, max: 13 }) }, { weight: 1, arbitrary: fc.nat(255) }),
  status: fc.oneof(fc.constantFrom(0, 1, 3, 4), fc.nat(65_535)),
  argument,
  payload,
  /** How much more, or less, the header announces. */
  lie: fc.oneof(
    { weight: 12, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.constantFrom(-1, 1, 16 * MB, 2 ** 31, 2 ** 32 - 400_000) },
  ),
})
type Frame = typeof frame extends fc.Arbitrary<infer T> ? T : never

function encoded({ kind, flags, status, argument: number, payload: bytes, lie }: Frame): Buffer {
  const header = encodeHeader(kind, Math.min(2 ** 32 - 1, Math.max(0, bytes.byteLength + lie)), { flags, status })
  header.writeBigUInt64LE(number, 8)
  return Buffer.concat([header, bytes])
}

const script = fc.record({
  frames: fc.array(frame, { maxLength: 8 }),
  noise: fc.uint8Array({ maxLength: 40 }),
  /** Sizes of what is written at once, over and over. */
  portions: fc.array(fc.constantFrom(1, 7, 15, 16, 17, 500, 70_000), { minLength: 1, maxLength: 4 }),
})
type Script = typeof script extends fc.Arbitrary<infer T> ? T : never

/** Says its part, whatever comes back, and leaves. Resolves with the kinds of what came. */
async function play(peer: PeerConnection, { frames, noise, portions }: Script): Promise<number[]> {
  const heard = listen(peer)
  const bytes = Buffer.concat([...frames.map(encoded), noise])
  for (let at = 0, i = 0; at < bytes.byteLength && !peer.socket.destroyed; i++) {
    const size = portions[i % portions.length] as number
    const end = i > 500 ? bytes.byteLength : at + size // so many small portions are enough
    peer.socket.write(bytes.subarray(at, end))
    at = end
    if (i % 8 === 0) await turn()
  }
  peer.socket.end()
  return await heard
}

/** Until the engine closes the connection. */
async function listen(peer: PeerConnection): Promise<number[]> {
  const kinds: number[] = []
  try {
    for (;;) kinds.push((await peer.receive()).kind)
  } catch (error) {
    assert.ok(error instanceof Error)
    if ('code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) return kinds
    assert.match(error.message, /the engine closed the connection|Premature close/)
    return kinds
  }
}

interface Engine {
  readonly plugin: PluginPeer
  readonly control: PeerConnection
  /** So many worker connections of it. */
  workers(count: number): Promise<PeerConnection[]>
}

/**
 * An engine's server with a control connection of our own, for as long as `use` lasts; then nothing of it may be left.
 */
async function withEngine(use: (engine: Engine) => Promise<void>, services = servicesInMemory()): Promise<void> {
  const before = pipes()
  const plugin = await new PluginPeer().listen()
  const server = await Server.connect(plugin.path, '0')
  const control = await plugin.accept()
  await control.receive()
  const served = server.serve(services)
  const workers = async (count: number) => {
    control.send(Kind.grow, { argument: count })
    const accepted = await Promise.all(Array.from({ length: count }, () => plugin.accept()))
    for (const worker of accepted) await worker.receive()
    return accepted
  }
  try {
    await use({ plugin, control, workers })
  } finally {
    control.socket.destroy()
    await served
    plugin.close()
  }
  while (pipes() > before) await turn() // a connection that is never closed never ends this
}

const pipes = () => process.getActiveResourcesInfo().filter(name => name === 'PipeWrap').length

/** A file there and back, as the plugin does it. */
async function works(peer: PeerConnection, n: number, size: number): Promise<void> {
  const content = Buffer.alloc(size, n + 1)
  const created = await peer.create(uuid(n), 1, content)
  assert.equal(created.status, 0, created.text)
  assert.deepEqual((await peer.read(uuid(n), 1)).result, content)
  assert.equal((await peer.remove(uuid(n), 1)).status, 0)
}

export const claims: Claims = {
  'a header is taken as it is, or refused': {
    property: fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.boolean(), (bytes, tame) => {
      const header = Buffer.from(bytes)
      if (tame) for (const at of [3, 14, 15]) header[at] = 0
      if (tame) header[4] = (header[4] as number) % 20
      try {
        const { length, kind, ...fields } = decodeHeader(header)
        assert.deepEqual(encodeHeader(kind, length, fields), header)
        assert.ok(length <= 16 * MB && kind >= 1 && kind <= 17)
      } catch (error) {
        assert.ok(error instanceof Fault, String(error))
      }
    }),
    runs: 2000,
  },

  'packed texts come back, and nothing else is taken for them': {
    property: fc.property(fc.array(fc.uint8Array()), fc.uint8Array(), fc.nat(), (texts, noise, cut) => {
      const packed = pack(...texts)
      assert.deepEqual(
        unpack(packed),
        texts.map(text => Buffer.from(text).toString()),
      )
      for (const bytes of [Buffer.from(noise), packed.subarray(0, cut % (packed.byteLength + 1))])
        try {
          unpack(bytes)
        } catch (error) {
          assert.ok(error instanceof Fault, String(error))
        }
    }),
    runs: 500,
  },

  'a text is cut where a character ends, and only when it is too long': {
    property: fc.property(fc.string({ unit: 'binary', maxLength: 30 }), fc.nat(5000), (text, times) => {
      const long = text.repeat(Math.ceil(times / (text.length || 1)))
      const whole = Buffer.from(long)
      const cut = cutText(long)
      assert.ok(cut.byteLength <= 4096 && cut.byteLength >= Math.min(whole.byteLength, 4093))
      assert.deepEqual(Buffer.from(cut.toString()), cut)
      assert.deepEqual(whole.subarray(0, cut.byteLength), cut)
    }),
    runs: 500,
  },

  'a peer that is not our plugin harms only its own connection': {
    property: fc.asyncProperty(
      fc.array(script, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(0, 100, 600_000),
      (scripts, size) =>
        withEngine(async ({ workers }) => {
          const [good, ...bad] = (await workers(scripts.length + 1)) as [PeerConnection, ...PeerConnection[]]
          const played = Promise.all(bad.map((peer, i) => play(peer, scripts[i] as Script)))
          await works(good, 8, size)
          for (const [i, came] of (await played).entries()) {
            const calls = scripts[i]?.frames.filter(({ kind }) => kind === Kind.call).length ?? 0
            const returns = came.filter(kind => kind === Kind.return).length
            assert.ok(returns <= calls, `${returns} answers to ${calls} calls`)
          }
          await works(good, 9, size)
        }),
    ),
    runs: 30,
  },

  'whatever comes on the control connection, the engine goes on or ends in order': {
    property: fc.asyncProperty(
      script.map(({ frames, ...rest }) => ({
        ...rest,
        // More connections than some are a matter of server.test.ts.
        frames: frames.map(each => (each.kind === Kind.grow ? { ...each, argument: each.argument % 4n } : each)),
      })),
      said => withEngine(async ({ control }) => void (await play(control, said))),
    ),
    runs: 30,
  },

  'what comes while a call is under way is not kept without end': {
    property: fc.asyncProperty(fc.constantFrom(0, 5000, 100_000, MB, 16 * MB), async size => {
      const begun = Promise.withResolvers<void>()
      const remove = () => {
        begun.resolve()
        return new Promise<void>(() => {}) // a disk that hangs; so nobody asks for what comes
      }
      await withEngine(
        async ({ workers }) => {
          const [peer] = (await workers(1)) as [PeerConnection]
          peer.send(Kind.call, { flags: Verb.remove }, uuid(0))
          await begun.promise
          const over = listen(peer)
          let sent = 0
          for (let i = 0; i < 2000 && sent < 64 * MB && !peer.socket.destroyed; i++, sent += size) {
            peer.send(Kind.call, { flags: Verb.read }, Buffer.alloc(size))
            while (peer.socket.writableNeedDrain && !peer.socket.destroyed) await turn()
          }
          await over // the engine ends it, for nobody else does
        },
        { area: { remove } as unknown as StorageArea },
      )
    }),
    runs: 5,
  },
}
