/**
 * One object from one side to the other. It is read and verified to its last byte before the first one is written:
 * with the digest that the store tells, and with its tag where it is sealed. Small ones are held in memory from then
 * on. Of large ones a fingerprint is kept, and what is written is compared with it as it is read again. So memory does
 * not grow with an object, and plaintext is on no disk.
 */
import type { Again } from '../area/area.ts'
import {
  type Bytes,
  type Content,
  collect,
  collectSource,
  Fingerprint,
  orDiscard,
  type Source,
  sourceOf,
} from '../bytes.ts'
import { isCode } from '../fault.ts'
import type { Budget } from '../seal/budget.ts'
import { md5Of, newDigest } from '../seal/digest.ts'
import type { Envelope } from '../seal/envelope.ts'
import { plain } from '../seal/envelope.ts'
import type { Plan } from './plan.ts'
import { envelopeOf, type Item, located, type Side, sealedIn } from './side.ts'

/** Up to this size an object is read once. */
const HELD_BYTES = 8 * 1024 * 1024
/** Bytes that objects in work may hold together. */
export const BUDGET_BYTES = 256 * 1024 * 1024

export interface TransferOptions {
  readonly from: Side
  readonly to: Side
  readonly plan: Plan
  readonly budget: Budget
  /** Repeats work after a fault that another try may mend. Bounded. */
  readonly again: Again
}

/** What was acknowledged at the target. */
export interface Sent {
  /** Bytes as they are stored there. */
  readonly size: number
  /** Of these. Undefined where nobody has computed it: of large objects that were sealed on the way. */
  readonly md5: string | undefined
}

/** `bytes`: the stored bytes are the same. `content`: they are sealed differently, and the files are the same. */
export type Likeness = 'bytes' | 'content' | 'other'

interface Outgoing {
  readonly source: Source
  readonly md5: string | undefined
}

export class Transfer {
  readonly #options: TransferOptions

  constructor(options: TransferOptions) {
    this.#options = options
  }

  /** Undefined: the source does not have it any more. */
  async copy(item: Item, key: string, signal: AbortSignal): Promise<Sent | undefined> {
    const { from, to, budget } = this.#options
    // Twice: as it is stored on both sides. Large ones are in work in pieces.
    const release = await budget.take(2 * Math.min(item.size, HELD_BYTES), signal)
    try {
      const { source, md5 } = await this.#outgoing(item, signal)
      await to.store.put(key, source, signal)
      return { size: source.size, md5 }
    } catch (error) {
      if (isCode(error, 'NotFound') && !(await from.store.stat(item.key, signal))) return undefined
      throw located(error, from, item.key)
    } finally {
      release()
    }
  }

  /** Reads both to their ends. Rejects when one of them is damaged. */
  async compare(item: Item, there: Item, signal: AbortSignal): Promise<Likeness> {
    const { from, to, again } = this.#options
    const [one, other] = await Promise.all([
      again(() => digestsOf(from, item, signal), signal),
      again(() => digestsOf(to, there, signal), signal),
    ])
    if (one.stored === other.stored) return 'bytes'
    return one.content === other.content ? 'content' : 'other'
  }

  async #outgoing(item: Item, signal: AbortSignal): Promise<Outgoing> {
    const { from, plan, again } = this.#options
    const sealed = await sealedIn(from, item, signal)
    const envelope = envelopeOf(from, sealed)
    const how = plan.asStored ? plain : envelope
    return await again(async () => {
      const content = await from.store.get(item.key, undefined, signal)
      return content.size <= HELD_BYTES
        ? await this.#held(content, envelope, sealed)
        : await this.#large(item.key, content, { envelope, how, sealed }, signal)
    }, signal)
  }

  async #held(content: Content, envelope: Envelope, sealed: boolean): Promise<Outgoing> {
    const { to, plan } = this.#options
    const stored = await collect(content)
    const source = sourceOf(stored)
    const file = sealed ? await collect(envelope.unseal({ size: stored.byteLength, body: source.open() })) : stored
    const [writing] = to.envelopes
    const bytes = plan.asStored ? stored : await collectSource(writing.seal(sourceOf(file)))
    return { source: sourceOf(bytes), md5: md5Of(bytes) }
  }

  /** `how`: what is written is read so. */
  async #large(
    key: string,
    content: Content,
    { envelope, how, sealed }: { envelope: Envelope; how: Envelope; sealed: boolean },
    signal: AbortSignal,
  ): Promise<Outgoing> {
    const { from, to, plan } = this.#options
    const [writing] = to.envelopes
    const md5 = newDigest('md5')
    const fingerprint = new Fingerprint(() => newDigest('sha256'))
    const see = (chunk: Uint8Array) => {
      md5.update(chunk)
      fingerprint.see(chunk)
    }
    const ofStored = how === plain
    const body = ofStored ? seeing(content.body, see) : content.body
    const file = sealed ? await orDiscard({ ...content, body }, one => envelope.unseal(one)) : { ...content, body }
    for await (const chunk of file.body) if (!ofStored) see(chunk)
    const opened = () => how.ranges(range => from.store.get(key, range, signal))
    let ranges = opened()
    // It may have been sealed again meanwhile, with another data key.
    const renew = () => {
      ranges = opened()
    }
    const source = fingerprint.source(range => ranges(range), renew)
    if (plan.asStored || writing.suffix === '') return { source, md5: md5.hex() }
    return { source: writing.seal(source), md5: undefined }
  }
}

async function digestsOf(side: Side, item: Item, signal: AbortSignal) {
  try {
    return await readDigests(side, item, signal)
  } catch (error) {
    throw located(error, side, item.key)
  }
}

async function readDigests(side: Side, item: Item, signal: AbortSignal) {
  const sealed = await sealedIn(side, item, signal)
  const envelope = envelopeOf(side, sealed)
  const [stored, content] = [newDigest('sha256'), newDigest('sha256')]
  const found = await side.store.get(item.key, undefined, signal)
  const whole = { ...found, body: seeing(found.body, chunk => stored.update(chunk)) }
  const file = await orDiscard(whole, one => envelope.unseal(one))
  for await (const chunk of file.body) content.update(chunk)
  return { stored: stored.hex(), content: content.hex() }
}

async function* seeing(body: Bytes, see: (chunk: Uint8Array) => void): Bytes {
  for await (const chunk of body) {
    see(chunk)
    yield chunk
  }
}
