/** Requests in the body of another one, and their answers: multipart/mixed with parts of application/http. */
import type { Headers, HttpAnswer } from './dialect.ts'
import { notTheStores } from './stranger.ts'

/** `path`: with its query, encoded. */
export interface PartRequest {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

export function multipart(boundary: string, requests: readonly PartRequest[]): string {
  const parts = requests.map(({ id, method, path, headers }) =>
    [
      `--${boundary}`,
      'Content-Type: application/http',
      'Content-Transfer-Encoding: binary',
      `Content-ID: ${id}`,
      '',
      `${method} ${path} HTTP/1.1`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      'Content-Length: 0',
      '',
      '', // the end of this line belongs to the boundary
      '',
    ].join('\r\n'),
  )
  return `${parts.join('')}--${boundary}--\r\n`
}

/** The answers by their Content-ID. Throws unless the last one is followed by the end. What has no id is skipped. */
export function partsOf({ headers, text, secrets, status }: HttpAnswer): ReadonlyMap<string, HttpAnswer> {
  const [, quoted, plain] =
    /^multipart\/mixed\b.*?;\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(String(headers['content-type'])) ?? []
  const boundary = quoted ?? plain
  const pieces = boundary === undefined ? [] : `\r\n${text}`.split(`\r\n--${boundary}`)
  if (pieces.length < 3 || !pieces.at(-1)?.startsWith('--'))
    throw notTheStores({ headers, text, secrets, status }, 'no complete list of answers')
  const parts = new Map<string, HttpAnswer>()
  for (const piece of pieces.slice(1, -1)) {
    const [, head = '', code, inner = '', body = ''] = PIECE.exec(piece) ?? []
    const id = headersIn(head)['content-id']
    if (typeof id === 'string' && code !== undefined)
      // The mark of the whole answer is that of its parts.
      parts.set(id, { status: Number(code), headers: { ...headers, ...headersIn(inner) }, text: body, secrets })
  }
  return parts
}

/** The head of the part, the status, the head of the answer and its text. */
const PIECE = /^\s*?\r\n((?:[^\r\n]+\r\n)+)\r\nHTTP\/1\.[01] (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)(?:\r\n([\s\S]*))?$/

function headersIn(head: string): Headers {
  return Object.fromEntries(
    head.split('\r\n').flatMap(line => {
      const at = line.indexOf(':')
      return at < 1 ? [] : [[line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim()]]
    }),
  )
}
