import type { Bytes, Digest, Range } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import type { DigestName, Digests } from '../digest.ts'
import type { CheckOptions, Removals, Stat, Store } from '../store.ts'

export type Query = readonly (readonly [name: string, value: string])[]

/** A request as a dialect builds it, before it is authorised. */
export interface Draft {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Of the object or bucket, encoded as it goes on the wire, without query. */
  readonly path: string
  readonly query?: Query
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>
  /** Small bodies only, such as XML; what is stored is streamed beside the draft. */
  readonly text?: string
  /** What is sent before and after the bytes that are streamed beside the draft. */
  readonly around?: { readonly before: Buffer; readonly after: Buffer }
  /** A status beyond 2xx that is no failure. */
  readonly alsoFine?: number
  /** The request belongs to an upload that began before. */
  readonly inUpload?: boolean
  /** Statuses whose answers have no text that proves anything. They are no failure yet: the caller asks again. */
  readonly wordless?: readonly number[]
  /** The server has much to do before it answers. */
  readonly slow?: boolean
  /** The request travels in the body of another one. */
  readonly within?: boolean
}

/** The head of an answer, and its text. Header names are lower-case. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  /** Of a failure: without the secrets of the request. */
  readonly text: string
  /** Values of the request that no message may repeat. */
  readonly secrets: () => readonly string[]
}

/** An answer that is no success. */
export interface HttpRefusal extends HttpAnswer {
  readonly verb: string
  /** Scheme, host and port of the request. */
  readonly origin: string
  /** Whether the request belongs to an upload that began before: what is missing is the upload. */
  readonly inUpload: boolean
  /** The request, before it was authorised. */
  readonly draft?: Draft
}

/**
 * What an answer says of bytes that were sent or found: the same as ours, others, or nothing that can be compared. In
 * the last case only reading the object back shows which.
 */
export type Verdict = 'same' | 'other' | 'unclear'

export type Headers = Readonly<Record<string, string | string[] | undefined>>

export interface Page {
  readonly objects: readonly Stat[]
  /** The token of the next page; undefined = this was the last one. */
  readonly next: string | undefined
}

/** What authorize() makes of a draft: all headers to send, and what the query ends with; both may hold secrets. */
export interface Authorized {
  readonly headers: Record<string, string>
  /** Encoded, such as a shared access signature; '' = nothing. */
  readonly query: string
  /** Called after a refusal: whether the server may accept what authorize() makes now. Then it is sent once more. */
  readonly again?: (answer: HttpRefusal) => boolean
}

/** How large objects are moved. */
export interface Transfer {
  /** Parts in flight for all transfers together. */
  readonly concurrency: number
  readonly partBytes: number
}

/** One piece of a large object. */
export interface Part {
  /** From 1. */
  readonly number: number
  readonly range: Range
  /** Of the whole object, in bytes. */
  readonly total: number
  /** Of its bytes. */
  readonly digests: Digests
  /** Of the whole object; only the last part knows them. */
  readonly whole: Digests | undefined
}

/** What finish() needs to know of a part that arrived, by the names that the provider has for it. */
export type Receipt = Readonly<Record<string, string>>

/** An upload in parts that the provider has begun. */
export interface Begun {
  readonly id: string
  /** Of each part, for part() and receipt(). */
  readonly ofParts: readonly DigestName[]
  /** Of the whole object, for its last part or for finish(). */
  readonly ofWhole: readonly DigestName[]
  /** It is not what was asked for, and must be abandoned and begun again, in another way. */
  readonly again?: boolean
}

/** A write whose digests follow its bytes, so that these are read once. */
export interface OnePass {
  readonly draft: Draft
  /** As it goes on the wire. */
  readonly body: Bytes
  /** Of `body`, in bytes. */
  readonly size: number
  /** Of the bytes of the object; right once `body` has ended. */
  digests(): Digests
}

/** How a large object is uploaded in parts that become visible together. */
export interface PartsDialect {
  /** Larger objects always go up in parts: the provider does not take them in one request, or is slower. Bytes. */
  readonly largestPut: number
  readonly smallestPart: number
  readonly mostParts: number
  /** How parts go up when the configuration does not say. */
  readonly usual: Transfer
  /** Whether each part must have arrived before the next is sent. */
  readonly inOrder: boolean
  /** undefined = parts need no request before them. */
  begin(key: string): Draft | undefined
  /** From the answer to `begin`. */
  begun(answer: HttpAnswer | undefined, begin: Draft | undefined): Begun
  part(key: string, id: string, part: Part): Draft
  /** Throws when the part did not arrive whole. */
  receipt(answer: HttpAnswer, part: Part, id: string): Receipt
  /** undefined = the last part ended the upload. */
  finish(key: string, id: string, receipts: readonly Receipt[], whole: Digests | undefined): Draft | undefined
  /** Throws unless the answer to finish() says that the object is there now, as sent. Absent: any success does. */
  finished?(answer: HttpAnswer, whole: Digests | undefined): void
  /** undefined = the provider forgets the parts by itself. */
  abandon(key: string, id: string): Draft | undefined
}

/**
 * One request. A failure is an answer, too, as is the end of `within`; only the end of the check's own time is thrown.
 */
export type SendProbe = (verb: string, draft: Draft, body?: Buffer, within?: AbortSignal) => Promise<HttpAnswer | Fault>
/** How many objects are removed with one request. */
export interface BatchDialect {
  readonly most: number
  /** Whether such a request can name this key without doubt; absent: any that a request of its own can name. */
  readonly takes?: (key: string) => boolean
  /** `authorize`: for a request within the request. */
  request(keys: readonly string[], authorize: (draft: Draft) => Promise<Authorized>): Promise<Draft>
  /** What the answer says of each key. What it does not say is left out. Throws when it is not the store's answer. */
  removals(keys: readonly string[], answer: HttpAnswer): Removals
}

/** With what a provider looks for uploads that did not come to their end, and abandons them. */
export interface LeftoverTools {
  /** A page of a listing, and the store's own time. Repeats what failed. */
  page<T>(
    draft: Draft,
    read: (answer: HttpAnswer) => T,
    signal: AbortSignal,
  ): Promise<{ readonly page: T; readonly asOf: Date | undefined }>
  /** As Store.stat(). Repeats what failed. */
  stat(key: string, signal: AbortSignal): Promise<Stat | undefined>
  /** One request for a removal. Resolves with the headers of a success. */
  remove(draft: Draft, signal: AbortSignal): Promise<Headers>
}

export type LeftoverDialect = (tools: LeftoverTools) => Pick<Store, 'leftovers' | 'removeLeftover'>

/** The check of one provider. */
export type DialectCheck = (dialect: Dialect, ask: SendProbe, options: Required<CheckOptions>) => Promise<void>

/**
 * What differs between the providers' HTTP: requests, signatures, errors. The files beside this one send requests,
 * stream bodies, check lengths and digests, and repeat what failed.
 */
export interface Dialect {
  /** For logs: `s3:my-bucket`. */
  readonly name: string
  /** Scheme, host and port. */
  readonly origin: string
  /** Which header has the provider's name for a request, for the log. */
  readonly requestId: string
  /** By which the provider verifies what it receives now. The check may change them, so each write asks once. */
  digests(): readonly DigestName[]
  /** The digest by which answers to stat() describe an object. */
  readonly describedBy: DigestName
  put(key: string, digests: Digests): Draft
  /** The same for a body that is too large to be held. undefined = it must be read twice. */
  putInOnePass?(key: string, body: Bytes, size: number): OnePass | undefined
  /**
   * Whether an answer has a mark that only the provider gives, such as its own id of the request. Proxies, load
   * balancers and captive portals answer, too, even with 200.
   */
  marked(headers: Headers): boolean
  /** What an answer to put() acknowledges. Throws when it is no acknowledgement. */
  acknowledges(answer: HttpAnswer, digests: Digests): Verdict
  /**
   * Called when `headers` acknowledged a write without proving anything, and reading the object back showed that it is
   * what was sent. So such acknowledgements are right on this server. `tag`: the ETag that came with the reading.
   * `found` undefined: it may not be read. Throws where that makes the acknowledgement worthless.
   */
  provenRight?(headers: Headers, digests: Digests, found: { readonly tag: unknown } | undefined): void
  /** `version`: only if the object is still the one that versionOf() gave it for. */
  get(key: string, range: Range | undefined, version?: string): Draft
  versionOf(headers: Headers): string | undefined
  /** The digest of the whole object, where an answer to get() has it. */
  digestOf(key: string, headers: Headers): Digest | undefined
  stat(key: string): Draft
  /** Throws when the answer is not about an object. */
  statOf(key: string, answer: HttpAnswer): Stat
  /**
   * What an answer to stat() says of bytes with this digest (`describedBy`). `parts`: the same of its parts, if the
   * object went up in parts.
   */
  compare(answer: HttpAnswer, digest: string | undefined, parts: readonly string[] | undefined): Verdict
  remove(key: string): Draft
  readonly batch: BatchDialect
  list(prefix: string, from: string | undefined): Draft
  page(answer: HttpAnswer): Page
  readonly leftovers: LeftoverDialect
  readonly check: DialectCheck
  readonly parts: PartsDialect
  /** `length`: of the body in bytes, 0 without one. `streamed`: the body is not the draft's own text. */
  authorize(draft: Draft, length: number, streamed: boolean, signal: AbortSignal): Promise<Authorized>
  /** The one table from this provider's errors to faults. */
  fault(answer: HttpRefusal): Fault
}

/** Everything but A-Z a-z 0-9 - . _ ~ as %XX of its UTF-8 bytes. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

/**
 * A key in the path of a request. Servers and proxies resolve "." and "..", and an empty key means the bucket itself:
 * such a request would reach something else.
 */
export function encodeKey(key: string, slash: '/' | '%2F' = '/'): string {
  const parts = slash === '/' ? key.split('/') : [key]
  if (key === '' || !key.isWellFormed() || parts.some(part => part === '.' || part === '..'))
    throw new Fault('BadRequest', 'a request cannot name this key')
  return parts.map(encode).join('/')
}

export function encodeQuery(query: Query): string {
  return query
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

/** The headers of a GET of a part, and of one that is only answered while the object has this tag. */
export function partHeaders(range: Range | undefined, tag?: string): Record<string, string> {
  return {
    ...(range && { range: `bytes=${range.start}-${range.end - 1}` }),
    ...(tag !== undefined && { 'if-match': tag }),
  }
}
