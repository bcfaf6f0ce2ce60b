/**
 * Answers that do not come from the store: of an ingress without a backend, a load balancer, a corporate proxy, a
 * captive portal. They prove nothing, neither that an object is absent nor that it was stored.
 */
import { Fault, type FaultCode, oneLine } from '../../fault.ts'
import type { Draft, Headers, HttpAnswer, HttpRefusal } from './dialect.ts'
import { isTagged } from './etags.ts'
import { withoutSecrets } from './secrets-sent.ts'

const LONGEST_TITLE = 120
const LONGEST_WORDS = 600
/** How much of a page is searched for a title or for secrets: no pattern takes long for so little. */
const LOOKED_AT = 2000
const LONGEST_PLACE = 100
const between =
  'Something between Orthanc and the store answers instead of the store: check the proxy, load balancer or ingress, and the endpoint.'

/** For a success that does not come from the store. `found`: what the answer has or lacks, after "the answer has". */
export function notTheStores(answer: HttpAnswer, found: string): Fault {
  return new Fault('Unavailable', `the answer has ${found}, so it does not come from the store: ${pageOf(answer)}`, {
    remedy: between,
    doubtful: true,
  })
}

/** For a failure that does not come from the store. */
export function strangersFault(answer: HttpRefusal): Fault {
  const { status, text } = answer
  if (status >= 300 && status < 400) return redirected(answer)
  const fault = (code: FaultCode, remedy: string) =>
    new Fault(code, `the answer does not come from the store: ${pageOf(answer)}`, {
      remedy,
      doubtful: true,
      ...retryAfter(answer),
    })
  if (/plain HTTP request was sent to HTTPS port/i.test(text))
    return fault('BadConfig', 'The server speaks TLS: write https:// in front of the endpoint.')
  if (status === 413)
    return fault(
      'TooLarge',
      'A proxy in front of the store limits the size of a request (nginx: client_max_body_size).',
    )
  if (status === 408 || status === 504) return fault('Timeout', between)
  return fault('Unavailable', status >= 500 || status === 429 ? '' : between)
}

/** Redirects are not followed: the signature is for one host, and the next host may be anybody's. */
function redirected({ status, headers, origin }: HttpRefusal): Fault {
  const location = String(headers['location'] ?? '')
  const there = URL.canParse(location, origin) ? new URL(location, origin) : undefined
  const here = new URL(origin)
  const words = `the server redirects${there ? ` to ${oneLine(there.origin, LONGEST_PLACE)}` : ''} (HTTP ${status})`
  const otherScheme = there && /^https?:$/.test(there.protocol) && there.protocol !== here.protocol
  if (otherScheme && there.hostname === here.hostname)
    return new Fault('BadConfig', words, { remedy: `Write ${there.protocol}// in front of the endpoint.` })
  return new Fault('Unavailable', words, {
    remedy: `Redirects are not followed. If ${oneLine(there?.host || 'that host', LONGEST_PLACE)} is the store, write it as the endpoint; else a proxy or captive portal asks for something, such as a login.`,
  })
}

export function retryAfter({ headers }: { readonly headers: Headers }): { retryAfterMs?: number } {
  const seconds = Number(headers['retry-after'])
  return seconds > 0 ? { retryAfterMs: seconds * 1000 } : {}
}

/**
 * Whether a success about an object does not come from the store. `marked`: it has the store's own mark. Small servers
 * give none, and some not even an ETag. Without a mark, an answer must not be a web page and must not be empty.
 */
export function isStrange(headers: Headers, marked: boolean): boolean {
  if (marked) return false
  const type = String(headers['content-type'] ?? '')
  const empty = headers['content-length'] === '0'
  if (headers['etag'] !== undefined) return /^text\/html\b/i.test(type) && !(empty && isTagged(headers))
  return !/^$|octet-stream/i.test(type) || !(Number(headers['content-length']) > 0)
}

/** The answer as it is; throws if it does not come from the store. `found`: as of notTheStores(). */
export function ownAnswer(answer: HttpAnswer, marked: boolean, found: string): HttpAnswer {
  if (isStrange(answer.headers, marked)) throw notTheStores(answer, found)
  return answer
}

/**
 * Whether an answer about bytes lacks the mark that the store has given to such answers before, and an ETag such as
 * S3's as well. Answers to the other requests have a text that proves where they come from.
 */
export function markWatch(marked: (headers: Headers) => boolean) {
  const marking = new Set<string>()
  return ({ method, inUpload = false }: Draft, verb: string, headers: Headers): boolean => {
    const kind = `${method} ${verb} ${inUpload}`
    if (!marked(headers)) return method !== 'POST' && verb !== 'list' && marking.has(kind) && !isTagged(headers)
    marking.add(kind)
    return false
  }
}

/** The status and the first words of a page, such as its title. */
function pageOf({ status, text: page, secrets }: HttpAnswer): string {
  const text = withoutSecrets(page, secrets())
  const title = /<title[^<>]*>([^<]*)</i.exec(text)?.[1] ?? text.replace(/<[^<>]*>/g, ' ').trim()
  const words = quoteOf(title, LONGEST_TITLE)
  return words === '' ? `HTTP ${status}` : `HTTP ${status}, "${words}"`
}

/** Text from outside as a part of a message: short, on one line, without secrets. */
export function quoteOf(text: string, most = LONGEST_WORDS): string {
  return oneLine(withoutLikelySecrets(text.slice(0, LOOKED_AT)).trim(), most)
}

/** Some pages repeat signatures or tokens, perhaps of other requests. For our own see secrets-sent.ts. */
function withoutLikelySecrets(text: string): string {
  return text
    .replace(/\b(sig|[\w-]*(?:signature|token|upload_id))(=|%3D)[^\s&"'<>]+/gi, '$1=…')
    .replace(/\b(bearer|basic|sharedkey)\s+[^\s"'<>]+/gi, '$1 …')
}
