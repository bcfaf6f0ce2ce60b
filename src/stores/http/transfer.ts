/**
 * Large objects in pieces: up in parts that become visible together, down in ranges that are fetched in parallel and
 * delivered in order. `UseTransferManager` of S3 turns both on; objects larger than the dialect's `largestPut` go up in
 * parts in any case.
 *
 * Memory: one slot holds one part, from the moment it is fetched until it is sent or delivered; there are `concurrency`
 * slots for the whole store, whatever the number of transfers. Slots are given in the order of the requests for them,
 * and a transfer requests them in the order of its parts, so the part that a reader waits for always has one.
 *
 * A process that dies in the middle of an upload leaves invisible parts behind, which cost money: see "incomplete
 * multipart uploads" in docs/operations.md.
 */
import pLimit from 'p-limit'
import type { Fault } from '../../fault.ts'
import { attempt } from '../wrappers/retry.ts'
import type { Dialect, Transfer } from './dialect.ts'
import type { Look } from './look.ts'
import type { HttpStoreOptions } from './options.ts'
import { PartBuffers } from './part-buffers.ts'
import type { Send } from './send.ts'

export interface Transfers {
  readonly transfer: Transfer
  readonly dialect: Dialect
  readonly send: Send
  readonly look: Look
  /** For the parts of uploads. */
  readonly buffers: PartBuffers
  /** Runs work in the next free slot. */
  slot<T>(work: () => Promise<T>): Promise<T>
  /** Repeats one request. Faults that only a repetition of the whole operation can cure are thrown at once. */
  again<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>
}

export function createTransfers(dialect: Dialect, send: Send, look: Look, options: HttpStoreOptions): Transfers {
  const { policy, log } = options
  const transfer = options.transfer ?? dialect.parts.usual
  const slots = pLimit(transfer.concurrency)
  const sameRequest = ({ retryable, startOver }: Fault) => retryable && !startOver
  return {
    transfer,
    dialect,
    send,
    look,
    buffers: new PartBuffers(transfer.concurrency),
    slot: work => slots(work),
    again: (signal, work) => attempt(work, policy, signal, log, sameRequest),
  }
}
