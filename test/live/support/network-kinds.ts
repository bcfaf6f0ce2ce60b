/** What a network does to the exchanges between engine and store: one entry for each kind of fault. */
import { chanceOf } from '../../support/chance.ts'
import type { Decide, Exchange, Trouble } from './fault-proxy.ts'

export type Provider = 's3' | 'azure' | 'gcs'

/** One exchange that is harmed. `at(n)`: a place in a body of `n` bytes; it differs from exchange to exchange. */
interface Harmed extends Exchange {
  readonly provider: Provider
  readonly length: number
  /** Its number among those that are harmed, from 0. */
  readonly pick: number
  at(length: number): number
}

export interface FaultKind {
  readonly name: string
  trouble(exchange: Harmed): Trouble
  /** No connection is accepted, so there are no exchanges. */
  readonly closed?: 'refused' | 'reset'
  /** Plain bytes may change unseen where the store gives no digest of them, as docs/reliability.md says. */
  readonly changesBytes?: true
}

const answer = (status: number, type: string, body = '', headers: Record<string, string> = {}): Trouble => ({
  answer: { status, headers: type === '' ? headers : { 'content-type': type, ...headers }, body },
})

/** "Try again later" in the store's own words and with the marks of its answers. */
const busy: Readonly<Record<Provider, Trouble>> = {
  s3: answer(
    503,
    'application/xml',
    '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>',
    { 'x-amz-request-id': 'A1B2' },
  ),
  azure: answer(
    503,
    'application/xml',
    '<?xml version="1.0"?><Error><Code>ServerBusy</Code><Message>Egress is over the account limit.</Message></Error>',
    { 'x-ms-request-id': 'A1B2', 'x-ms-error-code': 'ServerBusy' },
  ),
  gcs: answer(
    429,
    'application/json',
    '{"error":{"code":429,"message":"Too many requests.","errors":[{"reason":"rateLimitExceeded"}]}}',
    { 'x-guploader-uploadid': 'A1B2' },
  ),
}

/** The answer of the store, with another head. */
const headed = (head: (head: string, at: Harmed['at']) => string) => (exchange: Harmed) => ({
  response: () => ({ head: (text: string) => head(text, exchange.at) }),
})

const withLine = (line: string) => (head: string) => head.replace(/\r\n\r\n$/, `\r\n${line}\r\n\r\n`)
const longer = (by: number) => (head: string) =>
  head.replace(/(\r\ncontent-length: *)(\d+)/i, (_, name, length) => `${name}${Math.max(0, Number(length) + by)}`)

export const kinds: readonly FaultKind[] = [
  { name: 'nobody listens', closed: 'refused', trouble: () => ({ drop: true }) },
  { name: 'connections are reset at once', closed: 'reset', trouble: () => ({ drop: true }) },
  { name: 'requests come late', trouble: ({ at }) => ({ request: { waitMs: at(2000) } }) },
  { name: 'answers come late', trouble: ({ at }) => ({ response: { waitMs: at(2000) } }) },
  { name: 'answers come slowly', trouble: () => ({ response: { pace: { bytes: 16_384, ms: 20 } } }) },
  { name: 'heads come byte by byte', trouble: () => ({ response: { headPace: { bytes: 7, ms: 5 } } }) },
  { name: 'requests are reset', trouble: ({ at, length }) => ({ request: { resetAt: at(length) } }) },
  { name: 'answers are reset', trouble: ({ at }) => ({ response: ({ length }) => ({ resetAt: at(length) }) }) },
  { name: 'answers are lost', trouble: () => ({ response: { resetAt: 'start' } }) },
  { name: 'connections end in order before the answer', trouble: () => ({ response: { endAt: 'start' } }) },
  {
    name: 'connections are reset after the answer',
    trouble: () => ({ response: ({ length }) => ({ resetAt: length }) }),
  },
  { name: 'requests end early', trouble: ({ at, length }) => ({ request: { endAt: at(length) } }) },
  { name: 'answers end early', trouble: ({ at }) => ({ response: ({ length }) => ({ endAt: at(length) }) }) },
  {
    name: 'a byte of a request changes',
    trouble: ({ at, length }) => (length > 0 ? { request: { flipAt: at(length) } } : {}),
  },
  {
    name: 'a byte of an answer changes',
    changesBytes: true,
    trouble: ({ at }) => ({ response: ({ length }) => (length > 0 ? { flipAt: at(length) } : {}) }),
  },
  { name: 'a request stands still', trouble: ({ at, length }) => ({ request: { stopAt: at(length) } }) },
  { name: 'no answer comes', trouble: () => ({ response: { stopAt: 'start' } }) },
  {
    name: 'an answer stands still',
    trouble: ({ at }) => ({ response: ({ length }) => ({ stopAt: at(length) }) }),
  },
  { name: 'the store says 500', trouble: () => answer(500, 'text/plain', 'oops') },
  { name: 'the store says 503', trouble: () => answer(503, 'text/html', '<html>busy</html>') },
  { name: 'the store says that it is busy', trouble: ({ provider }) => busy[provider] },
  { name: 'an ingress says 404', trouble: () => answer(404, 'text/plain', '404 page not found\n') },
  { name: 'a login page comes', trouble: () => answer(200, 'text/html', '<html><title>Sign in</title></html>') },
  { name: 'an empty 200 comes', trouble: () => answer(200, '') },
  { name: 'an empty 204 comes', trouble: () => answer(204, '') },
  {
    name: 'a portal redirects',
    trouble: () => answer(302, 'text/html', '', { location: 'http://portal.example/login' }),
  },
  { name: 'a firewall says 403', trouble: () => answer(403, 'text/html', '<html><title>Blocked</title></html>') },
  {
    name: 'somebody else answers in JSON',
    trouble: () => answer(200, 'application/json', '{"status":"ok"}', { etag: '"1"' }),
  },
  {
    name: 'answers are longer than they say',
    changesBytes: true,
    trouble: headed((head, at) => longer(-1 - at(1000))(head)),
  },
  { name: 'answers are shorter than they say', trouble: headed((head, at) => longer(1 + at(1000))(head)) },
  {
    name: 'answers are about another range',
    trouble: headed(head =>
      head.replace(/(\r\ncontent-range: *bytes )(\d+)-(\d+)/i, (_, name, from, to) => `${name}${+from + 1}-${+to + 1}`),
    ),
  },
  { name: 'heads are a megabyte long', trouble: headed(withLine(`x-filler: ${'x'.repeat(1_000_000)}`)) },
  {
    name: 'an early hint comes before the answer',
    trouble: headed(head => `HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n${head}`),
  },
  { name: 'a "continue" comes before the answer', trouble: headed(head => `HTTP/1.1 100 Continue\r\n\r\n${head}`) },
  { name: 'what comes is not HTTP', trouble: headed(() => 'SSH-2.0-OpenSSH_9.6\r\n\r\n') },
]

/** Several kinds at once, each in its share of the exchanges. */
export function mixed(some: readonly FaultKind[]): FaultKind {
  return {
    name: some.map(({ name }) => name).join('; '),
    trouble: exchange => (some[exchange.pick % some.length] as FaultKind).trouble(exchange),
    ...(some.some(({ changesBytes }) => changesBytes) && { changesBytes: true }),
  }
}

/** Harms a share of the exchanges. A seed repeats which ones, and at which byte. */
export function harming(kind: FaultKind, provider: Provider, seed: number, share: number): Decide {
  let harmed = 0
  return exchange => {
    const random = chanceOf(seed * 7919 + exchange.nth * 104_729)
    if (random() >= share) return undefined
    const where = random()
    const length = Number(exchange.headers.get('content-length') ?? 0)
    const pick = harmed++
    return kind.trouble({ ...exchange, provider, length, pick, at: limit => Math.floor(where * limit) })
  }
}
