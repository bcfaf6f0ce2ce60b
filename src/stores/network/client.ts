/** What a store needs of HTTP/1.1. */
export interface HttpClient {
  /** Resolves with the head of the answer. Repeats nothing, follows no redirect. */
  request(request: HttpRequest): Promise<HttpResponse>
  /** Ends what is under way with `why`. */
  destroy(why?: Error): Promise<void>
}

export interface HttpRequest {
  /** Scheme, host and port. */
  readonly origin: string
  /** With the query, encoded as it goes on the wire. */
  readonly path: string
  readonly method: string
  /** Lower-case names. With a body, `content-length` is among them. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: AsyncIterable<Uint8Array> | Uint8Array | string | null
  readonly signal?: AbortSignal | undefined
  /** Longest wait for the head after the last byte of the request was handed over, in ms. */
  readonly headersTimeout?: number
  /** Longest wait for the next byte of the body, in ms. */
  readonly bodyTimeout?: number
}

export interface HttpResponse {
  readonly statusCode: number
  /** Lower-case names; an array where a name came more than once. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: ResponseBody
}

/** Must be read to its end, dumped, or destroyed: until then it holds its connection. */
export interface ResponseBody extends AsyncIterable<Uint8Array> {
  /** All of it. Only for bodies whose size is known to be small. */
  bytes(): Promise<Uint8Array>
  /** Reads and drops a short body, so that its connection serves again, and closes that of a long one. */
  dump(): Promise<void>
  /** Closes the connection, unless the body is complete. */
  destroy(): unknown
}
