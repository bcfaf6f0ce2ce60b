/** Values of the configuration, as a message may show them: never a secret, never long, on one line. */
import { closest, distance } from 'fastest-levenshtein'
import { oneLine } from '../fault.ts'

const secrets = /(Keys?|HttpProxy|ConnectionString|ConnectionUri|Password|ServiceAccountFile)([.[]|$)/
const MOST = 100

/**
 * A value of the option at `path`. A whole section or a list is not shown, nor anything in the place of one (`meant`):
 * it may hold any secret.
 */
export function shown(path: string, value: unknown, meant = ''): string {
  if (secrets.test(path)) return 'a secret that is not shown'
  if (typeof value === 'object' || /^(an object|an array|a list|\[)/.test(meant)) return kindOf(value)
  return oneLine(typeof value === 'string' ? JSON.stringify(bared(value)) : String(value), MOST)
}

/** Empty objects and arrays are shown as they are. */
export function kindOf(value: unknown): string {
  if (typeof value === 'string') return 'a string'
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return JSON.stringify(value)
  return Array.isArray(value) ? 'an array' : 'an object'
}

/** The name of an option or section, or a text that was looked at before. */
export function quoted(text: string): string {
  return oneLine(bared(text), MOST)
}

/** Users, passwords and signatures hide in URLs, and keys where the path of a file belongs. */
function bared(text: string): string {
  if (/private_key|BEGIN [A-Z ]*KEY/.test(text)) return '...'
  return text.replace(/^.*@/s, '...@').replace(/([?#]|%3f|\b(sig|AccountKey|SharedAccessSignature)=).*$/is, '?...')
}

/** The end of a message about a name that is not one of `known`, where one of them is nearly it. */
export function didYouMean(given: string, known: readonly string[]): string {
  const near = nearest(given, known)
  return near === undefined ? '' : `; did you mean ${near}?`
}

/** `most`: how many characters may differ from a name. */
export function nearest(
  given: string,
  known: readonly string[],
  most = (name: string) => Math.max(2, name.length / 3),
): string | undefined {
  if (known.length === 0) return undefined
  const lower = known.map(name => name.toLowerCase())
  const near = closest(given.toLowerCase(), lower)
  return distance(given.toLowerCase(), near) <= most(near) ? known[lower.indexOf(near)] : undefined
}
