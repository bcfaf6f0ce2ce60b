/**
 * Calls as Orthanc's threads make them, several at once, on a bad day: the answers are those of a model, or say what
 * failed.
 */
import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import type { StorageArea } from '../../src/area/area.ts'
import { keysOf } from '../../src/area/naming.ts'
import { objectArea } from '../../src/area/object-area.ts'
import { VerifiedCache } from '../../src/area/verified-cache.ts'
import { type Bytes, checkedContent } from '../../src/bytes.ts'
import { Fault, isCode } from '../../src/fault.ts'
import { a1 } from '../../src/seal/a1.ts'
import { Budget } from '../../src/seal/budget.ts'
import { plain } from '../../src/seal/envelope.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import type { Store } from '../../src/stores/store.ts'
import { serveCalls } from '../../src/wire/call.ts'
import { Connection } from '../../src/wire/connection.ts'
import { httpReplies } from '../../src/wire/http-replies.ts'
import { memoryStore } from '../support/memory-store.ts'
import { type Outcome, type PeerConnection, PluginPeer } from '../support/peer.ts'
import { fc } from '../support/property.ts'
import { naming } from '../support/tiers.ts'
import type { Claims } from './claim.ts'

/**
 * Files of each lane. Lanes are threads of Orthanc; nobody else touches their files, so the model knows what to expect.
 */
const FILES = 2
const BUDGET = 500_000

const size = fc.constantFrom(0, 1, 100, 5000, 262_144, 262_145, 300_000, 1_100_000)
const step = fc.record({
  verb: fc.constantFrom(
    'create' as const,
    'create' as const,
    'read' as const,
    'read' as const,
    'range' as const,
    'remove' as const,
  ),
  file: fc.nat(FILES - 1),
  size,
  start: fc.oneof(fc.constantFrom(0, 1, 2 ** 40, Number.MAX_SAFE_INTEGER), fc.nat(300_000)),
  length: fc.oneof(fc.constantFrom(0, 1, 100), fc.nat(300_000)),
  /** The connection is lost after so many turns of the event loop; mostly it is not. */
  lost: fc.option(fc.nat(30), { nil: undefined, freq: 4 }),
})
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

const trouble = fc.constantFrom(...(['none', 'none', 'none', 'late', 'before', 'after', 'cut', 'flip'] as const))
type Trouble = typeof trouble extends fc.Arbitrary<infer T> ? T : never

/** A store that has its troubles in turn. */
function troubled(store: Store, troubles: readonly Trouble[]): Store {
  let calls = 0
  const next = () => troubles[calls++ % troubles.length] ?? 'none'
  const broken = () => new Fault('Unavailable', 'broken on purpose')
  async function around<T>(work: () => Promise<T>): Promise<T> {
    const kind = next()
    if (kind === 'before') throw broken()
    if (kind === 'late') for (let i = 0; i < 10; i++) await turn()
    const result = await work()
    if (kind === 'after') throw broken()
    return result
  }
  async function* worse(body: Bytes, kind: 'cut' | 'flip'): Bytes {
    for await (const chunk of body) {
      const copy = Buffer.from(chunk)
      if (kind === 'flip') copy[0] = (copy[0] ?? 0) ^ 1
      yield kind === 'cut' ? copy.subarray(1) : copy
    }
  }
  return {
    ...store,
    put: (key, body, signal) => around(() => store.put(key, body, signal)),
    remove: (key, signal) => around(() => store.remove(key, signal)),
    async get(key, range, signal) {
      const kind = next()
      if (kind === 'before' || kind === 'after') throw broken()
      const { size, body } = await store.get(key, range, signal)
      return kind === 'cut' || kind === 'flip' ? checkedContent(size, worse(body, kind)) : { size, body }
    },
  }
}

function areaOf(sealing: boolean, troubles: readonly Trouble[]) {
  // Unsealed bytes that are flipped are found by digests, which a store in memory has none of.
  const kinds = sealing ? troubles : troubles.map(kind => (kind === 'flip' ? 'cut' : kind))
  const budget = new Budget(BUDGET)
  const keys = keyring(masterKey(1, Buffer.alloc(32, 1).toString('base64')), [])
  const area = objectArea({
    store: troubled(memoryStore(), kinds),
    keysOf: (attachment, suffix) => keysOf(naming['object-storage'], suffix, attachment),
    envelopes: sealing ? [a1(keys), plain] : [plain],
    unsealIfSealed: get => get(),
    budget,
    cache: new VerifiedCache(400_000, 200_000),
    again: async work =>
      await work().catch(error => (isCode(error, 'Corrupt') && error.retryable ? work() : Promise.reject(error))),
  })
  return { area, budget }
}

/** One thread of Orthanc with its connection, and what it knows of its files. */
class Lane {
  readonly #plugin = new PluginPeer()
  readonly #area: StorageArea
  readonly #number: number
  /** What each file may be; undefined = it is not there. */
  readonly #files = Array.from({ length: FILES }, (): (Buffer | undefined)[] => [undefined])
  #peer: PeerConnection | undefined
  #served = Promise.resolve()
  #created = 0

  constructor(area: StorageArea, number: number) {
    this.#area = area
    this.#number = number
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.#plugin.listen()
    try {
      await this.#connect()
      for (const each of steps) await this.#take(each)
    } finally {
      await this.#lose()
      this.#plugin.close()
    }
  }

  async #connect(): Promise<void> {
    const connection = await Connection.open(this.#plugin.path)
    this.#served = serveCalls(connection, { area: this.#area })
    this.#peer = await this.#plugin.accept()
  }

  /** Resolves when the engine has let go of the call as well. */
  async #lose(): Promise<void> {
    this.#peer?.socket.destroy()
    await this.#served
  }

  async #take(step: Step): Promise<void> {
    const content = Buffer.alloc(step.size, `${this.#number}/${step.file}/${++this.#created};`)
    const answer = this.#call(step, content)
    if (step.lost === undefined) return this.#check(step, content, await answer)
    const heard = answer.catch(() => undefined)
    for (let i = 0; i < step.lost; i++) await turn()
    await this.#lose()
    const outcome = await heard
    if (outcome) this.#check(step, content, outcome)
    else this.#unknown(step, content)
    await this.#connect()
  }

  #call({ verb, file, start, length }: Step, content: Buffer): Promise<Outcome> {
    const peer = this.#peer as PeerConnection
    const uuid = `0a1b2c3d-4e5f-4a6b-8c7d-${String(this.#number * 100 + file).padStart(12, '0')}`
    if (verb === 'create') return peer.create(uuid, 1, content)
    if (verb === 'remove') return peer.remove(uuid, 1)
    return verb === 'read' ? peer.read(uuid, 1) : peer.readRange(uuid, 1, start, length)
  }

  #check(step: Step, content: Buffer, { status, text, result }: Outcome): void {
    const { verb, file, start, length } = step
    const known = this.#files[file] as (Buffer | undefined)[]
    const wrote = verb === 'create' || verb === 'remove'
    if (status === 0 && wrote) this.#files[file] = [verb === 'create' ? content : undefined]
    else if (status === 0) {
      const parts = known.map(bytes => (verb === 'read' ? bytes : bytes?.subarray(start, start + length)))
      assert.ok(length === 0 || parts.some(part => part?.equals(result)), 'these bytes are not those of the file')
    } else if (status === httpReplies.NotFound.number) assert.ok(!wrote && known.includes(undefined), text)
    else if (status === httpReplies.BadRequest.number)
      assert.ok(verb === 'range' && known.some(bytes => !bytes || start + length > bytes.byteLength), text)
    else {
      assert.ok([httpReplies.Unavailable.number, httpReplies.Corrupt.number].includes(status), text)
      this.#unknown(step, content)
    }
  }

  /** Nobody knows whether it was done. */
  #unknown({ verb, file }: Step, content: Buffer): void {
    if (verb === 'create') this.#files[file]?.push(content)
    if (verb === 'remove') this.#files[file]?.push(undefined)
  }
}

export const claims: Claims = {
  'calls that come at once, fail and are broken off are answered as a model answers them': {
    property: fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 4 }),
      fc.array(trouble, { minLength: 1, maxLength: 9 }),
      fc.boolean(),
      async (lanes, troubles, sealing) => {
        const { area, budget } = areaOf(sealing, troubles)
        await Promise.all(lanes.map((steps, i) => new Lane(area, i).run(steps)))
        assert.ok(budget.tryTake(BUDGET), 'a share of the budget was not given back')
      },
    ),
    runs: 30,
  },
}
