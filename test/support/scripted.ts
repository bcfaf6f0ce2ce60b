/** A server that answers as a test says, for the S3 store. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { collect } from '../../src/bytes.ts'
import { type S3Options, s3Store } from '../../src/stores/s3/s3.ts'
import type { Store } from '../../src/stores/store.ts'
import { withRetry } from '../../src/stores/wrappers/retry.ts'
import { s3Options } from './s3-options.ts'
import { never } from './store.suite.ts'
import { listen, undo } from './undo.ts'

export interface Seen {
  readonly line: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}
export type Script = (request: Seen, response: ServerResponse, nth: number) => void

export const MB = 1024 * 1024

/** A server that answers as `script` says, and remembers what it was asked. */
export function scripted(script: Script): { seen: Seen[]; listener: RequestListener } {
  const seen: Seen[] = []
  const listener: RequestListener = async (request, response) => {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk)
    } catch {
      return // broken off
    }
    const one = { line: `${request.method} ${request.url}`, headers: request.headers, body: Buffer.concat(chunks) }
    response.setHeader('x-amz-request-id', 'R') // as every S3 server does
    script(one, response, seen.push(one))
  }
  return { seen, listener }
}

export async function serve(script: Script, more: Partial<S3Options> = {}) {
  const { seen, listener } = scripted(script)
  const endpoint = `http://127.0.0.1:${await listen(createServer(listener))}`
  return { seen, endpoint, store: open({ endpoint, ...more }) }
}

export function open(more: Partial<S3Options>, http: { caFile?: string; proxy?: string } = {}): Store {
  const store = s3Store(
    { ...s3Options, ...more },
    { caFile: http.caFile, proxy: http.proxy, probeKey: 'probe' },
    () => {},
  )
  undo.push(() => store.close())
  return withRetry({ maxRetries: 3, firstDelayMs: 1 }, () => {})(store)
}

export const error = (code: string, more = '') =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>words</Message>${more}</Error>`
export const fail = (response: ServerResponse, status: number, code: string, more = '') =>
  response.writeHead(status, { 'content-type': 'application/xml' }).end(error(code, more))

/** Answers GET with or without a range out of `bytes`, as S3 does. */
export function give(bytes: Buffer, { headers }: Seen, response: ServerResponse): void {
  const [, from, to] = /bytes=(\d+)-(\d+)/.exec(headers.range ?? '') ?? []
  if (from === undefined)
    return void response.writeHead(200, { etag: '"e"', 'content-length': bytes.length }).end(bytes)
  if (Number(from) >= bytes.length) return void fail(response, 416, 'InvalidRange')
  const part = bytes.subarray(Number(from), Number(to) + 1)
  const range = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`
  response.writeHead(206, { etag: '"e"', 'content-length': part.length, 'content-range': range }).end(part)
}

/** Acknowledges a write, as S3 does. */
export const take = ({ body }: Seen, response: ServerResponse) =>
  response.writeHead(200, { etag: `"${createHash('md5').update(body).digest('hex')}"` }).end()

export const get = async (store: Store, range?: { start: number; end: number }) =>
  collect(await store.get('k', range, never))
