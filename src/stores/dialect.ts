import type { Range } from '../bytes.ts'
import type { Fault } from '../fault.ts'
import type { Stat } from './store.ts'

export type Query = readonly (readonly [name: string, value: string])[]

/** A request as a dialect words it, before it is authorised. */
export interface Draft {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Of the object or bucket, encoded as it goes on the wire, without query. */
  readonly path: string
  readonly query?: Query
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>
  /** Small bodies only, such as XML; what is stored is streamed beside the draft. */
  readonly text?: string
}

/** The head of an answer, and its text when it is an error. Header names are lower-case. */
export interface Answer {
  readonly verb: string
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
}

export interface Page {
  readonly objects: readonly Stat[]
  /** What the next page is asked with; undefined = this was the last one. */
  readonly next: string | undefined
}

/** How a large object is sent in parts that go up in parallel and become visible together. */
export interface PartsDialect {
  /** Objects larger than this cannot be sent in one request. Bytes. */
  readonly largestPut: number
  readonly smallestPart: number
  readonly mostParts: number
  begin(key: string): Draft
  /** Reads the upload's id out of the answer to begin(). */
  uploadId(text: string): string
  part(key: string, id: string, number: number, md5: string): Draft
  /** What finish() must be told of a part that arrived. */
  receipt(headers: Answer['headers']): string
  finish(key: string, id: string, receipts: readonly string[]): Draft
  abandon(key: string, id: string): Draft
}

/**
 * What one provider's HTTP interface differs in: words, signatures, errors. How requests are sent, bodies streamed,
 * lengths checked and failures repeated is http.ts's business.
 */
export interface Dialect {
  /** For logs: `s3:my-bucket`. */
  readonly name: string
  /** Scheme, host and port. */
  readonly origin: string
  put(key: string, md5: string): Draft
  /** `etag`: only if the object is still the one that answered with it. */
  get(key: string, range: Range | undefined, etag?: string): Draft
  stat(key: string): Draft
  remove(key: string): Draft
  list(prefix: string, from: string | undefined): Draft
  page(text: string): Page
  /** A harmless request that succeeds, or fails in a way that accepts() takes for a proof of access. */
  check(): Draft
  accepts(fault: Fault): boolean
  readonly parts: PartsDialect
  /** All headers to send, credentials included. */
  authorize(draft: Draft, streamed: boolean): Promise<Record<string, string>>
  /** The one table from this provider's errors to faults. */
  fault(answer: Answer): Fault
}

/** Everything but A-Z a-z 0-9 - . _ ~ as %XX of its UTF-8 bytes. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

export function encodePath(path: string): string {
  return path.split('/').map(encode).join('/')
}

export function encodeQuery(query: Query): string {
  return query
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}
