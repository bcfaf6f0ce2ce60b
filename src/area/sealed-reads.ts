import {
  type Bytes,
  type Content,
  checkedContent,
  checkedRange,
  cut,
  discard,
  orDiscard,
  type Range,
  sourceOf,
} from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Budget } from '../seal/budget.ts'
import type { Store } from '../stores/store.ts'
import type { VerifiedCache } from './verified-cache.ts'

/** Makes the file out of the object that `get` fetches. It may call `get` more than once. */
export type Unseal = (get: () => Promise<Content>) => Promise<Content>

export interface SealedReadsOptions {
  readonly store: Store
  /** Bytes being sealed and unsealed at once. */
  readonly budget: Budget
  readonly cache: VerifiedCache
}

/** Reads of the sealed objects of one store. */
export class SealedReads {
  readonly #options: SealedReadsOptions

  constructor(options: SealedReadsOptions) {
    this.#options = options
  }

  /** The whole file, decrypted as it streams. Its body ends without a fault only if the whole object was right. */
  async whole(key: string, unseal: Unseal, signal: AbortSignal): Promise<Content> {
    const where = { verb: 'read', store: this.#options.store.name, key }
    let sealed: Content | undefined
    /** Of what does not open, a copy is to blame, if it was one. It is gone then, so another try asks the store. */
    const blamed = (error: unknown): Fault => {
      const fault = Fault.from(error, where)
      if (!sealed?.dropCopy || !['Corrupt', 'BadConfig'].includes(fault.code)) return fault
      sealed.dropCopy()
      return new Fault('Corrupt', fault.message, { where, cause: error, remedy: fault.remedy, retryable: true })
    }
    try {
      const { size, body } = await unseal(async () => {
        sealed = await this.#get(key, signal)
        return sealed
      })
      return { size, body: located(body, blamed), verified: true }
    } catch (error) {
      throw blamed(error)
    }
  }

  /** A range is a success only when the whole object, read to its end, is. Small ones are kept for the next range. */
  async range(key: string, unseal: Unseal, range: Range, signal: AbortSignal): Promise<Content> {
    const open = () => this.whole(key, unseal, signal)
    const loaded = await this.#options.cache.getOrLoad(key, open).catch(error => {
      // The load may have been that of another reader, who gave up.
      if (isCode(error, 'Canceled') && !signal.aborted) return undefined
      throw error
    })
    if (loaded instanceof Uint8Array) {
      const { start, end } = checkedRange(range, loaded.byteLength)
      return checkedContent(end - start, sourceOf(loaded).open(range))
    }
    return await orDiscard(loaded ?? (await open()), ({ size, body }) => {
      const { start, end } = checkedRange(range, size)
      return checkedContent(end - start, cut(body, range))
    })
  }

  /**
   * A sealed object, within its share of the budget. Only the answer has the size, so the share is taken then. If the
   * share is not free at once, the answer is given back first. Otherwise two readers could wait for each other for
   * ever: one holds a connection and waits for memory, the other holds memory and waits for a connection.
   */
  async #get(key: string, signal: AbortSignal): Promise<Content> {
    const { store, budget } = this.#options
    let content = await store.get(key, undefined, signal)
    let release = budget.tryTake(content.size)
    if (!release) {
      await discard(content)
      release = await budget.take(content.size, signal)
      content = await store.get(key, undefined, signal).catch(error => {
        release?.()
        throw error
      })
    }
    signal.addEventListener('abort', release, { once: true }) // also when nobody begins to read the body
    return { ...content, body: releasing(content.body, release, signal) }
  }
}

/** Adds the place to a fault of unsealing, which is above the store. Faults of the store have their place already. */
async function* located(body: Bytes, blamed: (error: unknown) => Fault): Bytes {
  try {
    yield* body
  } catch (error) {
    throw blamed(error)
  }
}

async function* releasing(body: Bytes, release: () => void, signal: AbortSignal): Bytes {
  try {
    yield* body
  } finally {
    signal.removeEventListener('abort', release)
    release()
  }
}
