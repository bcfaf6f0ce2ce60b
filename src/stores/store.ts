import type { Content, Range, Source } from '../bytes.ts'
import type { Fault } from '../fault.ts'

export interface Stat {
  readonly key: string
  /** Bytes. */
  readonly size: number
  readonly modified: Date
  /** The store's own time when it said this. Absent where the store does not tell it. */
  readonly asOf?: Date | undefined
  /** MD5 of all stored bytes, in lower-case hex. Absent where the store does not tell it, or tells something else. */
  readonly md5?: string | undefined
  /**
   * Class or access tier, by the provider's own name, such as `STANDARD_IA` or `Cool`. Listings tell it on S3, Azure
   * and Google. S3 does not tell `STANDARD` of one object alone. Absent where the store does not tell it.
   */
  readonly storageClass?: string | undefined
}

export interface CheckOptions {
  /**
   * `start`, the default: Orthanc starts, so what may be made is made, such as a missing container. `look`: as at
   * start, but nothing is made. `status`: one cheap question, which writes nothing and needs no permission to write.
   */
  readonly purpose?: 'start' | 'look' | 'status'
  /** Whether the permission to write is needed, too. Default true. */
  readonly writes?: boolean
  /** Called for each thing that is wrong but does not stop Orthanc. */
  readonly warn?: (line: string) => void
}

/** What is known of one object after removeMany(): it is proven to be gone, or why that is not so. */
export type Removal = 'gone' | Fault

/** By key. A key that is missing is one of which nothing is known. */
export type Removals = ReadonlyMap<string, Removal>

/**
 * Keys and bytes, nothing else: a store knows nothing of DICOM, sealing, tiers or retry.
 *
 * Every method rejects with a `Fault` and with nothing else, and none throws before it has returned. When `signal` is
 * aborted the method rejects with `Fault.ofAbort(signal)`, and has let go of every connection and file when it does.
 * Only an operation that hangs in the operating system keeps them until it ends. Keys are relative, `/`-separated,
 * without empty, `.` or `..` segments.
 *
 * A store is an object whose functions do not need `this`: a wrapper may pass a function on that it does not change.
 */
export interface Store {
  /** For logs and metrics, such as `s3:my-bucket`. Never a secret. */
  readonly name: string

  /**
   * Visible whole or not at all; resolves only after the provider acknowledged the bytes with its integrity check
   * (or, for files, after fsync). Objects are immutable: putting the same bytes under the same key again is harmless.
   */
  put(key: string, body: Source, signal: AbortSignal): Promise<void>

  /**
   * The whole object, or exactly `range` of it. A missing object rejects here with `NotFound`, a range that is not
   * wholly inside the object with `BadRequest`, not in the middle of the body. The body must be consumed or
   * destroyed (`return()`), and rejects with `Corrupt` when it is not exactly as long as announced.
   */
  get(key: string, range: Range | undefined, signal: AbortSignal): Promise<Content>

  /** `undefined` only for a proven absence; anything doubtful rejects. */
  stat(key: string, signal: AbortSignal): Promise<Stat | undefined>

  /** An absent object is a success. */
  remove(key: string, signal: AbortSignal): Promise<void>

  /**
   * Removes many objects, in as few requests as the provider allows. Each key is judged by itself. Rejects only when
   * `signal` is aborted: then some of them may be gone.
   */
  removeMany(keys: readonly string[], signal: AbortSignal): Promise<Removals>

  /** Whether the object is there with exactly these bytes: called after a lost answer. Not every store can lose one. */
  readonly holds?: ((key: string, body: Source, signal: AbortSignal) => Promise<boolean>) | undefined

  /** All objects whose key begins with `prefix`, ascending by the UTF-8 bytes of the key. Pages are hidden. */
  list(prefix: string, signal: AbortSignal): AsyncIterable<Stat>

  /**
   * Harmless requests which prove that the store answers and lets us in. Rejects with a Fault whose `remedy` names the
   * likely cause (docs/errors.md); it is retryable when asking again later can help.
   */
  check(signal: AbortSignal, options?: CheckOptions): Promise<void>

  /** Closes connections and files. Calls under way are aborted. */
  close(): Promise<void>
}

/** What a wrapper returns. It does not compile until it names every verb, so a new verb cannot be forgotten. */
export type Wrapped = { readonly [Verb in keyof Required<Store>]: Store[Verb] }

/** A store around a store. */
export type Wrap = (store: Store) => Wrapped
