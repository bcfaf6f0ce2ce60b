/**
 * Large objects in pieces: up in parts that become visible together, down in ranges that are fetched in parallel and
 * delivered in order. `UseTransferManager` of S3 turns both on; objects larger than the dialect's `largestPut` go up in
 * parts in any case.
 *
 * Memory: one slot holds one part, from the moment it is fetched until it is sent or delivered; there are
 * `concurrency` slots for the whole store, whatever the number of transfers. Slots are handed out in the order of asking,
 * and a transfer asks for its parts in their order, so the part that everybody waits for always has one.
 *
 * A process that dies in the middle of an upload leaves invisible parts behind, which cost money: see "incomplete
 * multipart uploads" in docs/operations.md.
 */
import pLimit from 'p-limit'
import type { Source } from '../../bytes.ts'
import type { Fault } from '../../fault.ts'
import { hasher } from '../digest.ts'
import type { Store } from '../store.ts'
import { attempt } from '../wrappers/retry.ts'
import type { Dialect } from './dialect.ts'
import { inParts, partsOf } from './in-parts.ts'
import { inRanges } from './in-ranges.ts'
import { type Look, looking } from './look.ts'
import type { HttpStoreOptions, Send } from './store.ts'

export interface Transfer {
  readonly concurrency: number
  readonly partBytes: number
}

export interface Transferring {
  readonly transfer: Transfer
  readonly dialect: Dialect
  readonly send: Send
  readonly look: Look
  /** Runs work in the next free slot. */
  slot<T>(work: () => Promise<T>): Promise<T>
  /** Repeats one request. What only a new beginning can mend passes. */
  again<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>
}

export function transferring(whole: Store, dialect: Dialect, send: Send, options: HttpStoreOptions): Store {
  const look = looking(dialect, send)
  const { policy, log } = options
  const transfer = options.transfer ?? dialect.parts.usual
  const slots = pLimit(transfer.concurrency)
  const sameRequest = ({ retryable, beginAnew }: Fault) => retryable && !beginAnew
  const all: Transferring = {
    transfer,
    dialect,
    send,
    look,
    slot: work => slots(work),
    again: (signal, work) => attempt(work, policy, signal, log, sameRequest),
  }
  const put = inParts(all)
  const get = inRanges(all, whole)

  /** As a whole, and in the parts that it would go up in. */
  async function holds(key: string, body: Source, signal: AbortSignal): Promise<boolean> {
    const digest = hasher(dialect.digest)
    const parts: string[] = []
    for (const range of partsOf(body.size, all)) {
      const part = hasher(dialect.digest)
      for await (const chunk of body.open(range)) {
        signal.throwIfAborted()
        digest.update(chunk)
        part.update(chunk)
      }
      parts.push(part.digest())
    }
    const found = digest.digest()
    return look.holds(key, { size: body.size, digest: found, parts, compute: async () => found }, signal)
  }

  const { largestPut } = dialect.parts
  const largest = options.transfer ? Math.min(transfer.partBytes, largestPut) : largestPut
  return {
    ...whole,
    put: (key, body, signal) => (body.size > largest ? put(key, body, signal) : whole.put(key, body, signal)),
    get: options.transfer ? get : whole.get,
    holds: async (key, body, signal) =>
      body.size > largest ? await holds(key, body, signal) : ((await whole.holds?.(key, body, signal)) ?? false),
  }
}
