/** The secrets of a request, which no message may repeat: proxies and servers quote requests in pages and errors. */
import type { Headers } from './dialect.ts'

/** Names of the headers and parameters whose values are secret. Others hold no secret, or are not sent by us. */
const SECRET = /authorization|token|secret|assertion|password|^code$|^sig$|signature/i
/** The secret part of an authorization header: the signature of S3 or Azure, or a token. Not the names before it. */
const PART = /Signature=(\w+)|SharedKey [^:]*:(\S+)|(?:Bearer|Basic) (\S+)/
/** A page may cut a secret off, or encode the rest differently. So many characters are enough to find it. */
const BEGINNING = 8

/** `parameters`: of a query, a form or an object in JSON, as they are sent. */
export function secretsIn(headers: Headers, ...parameters: readonly string[]): readonly string[] {
  const named = [Object.entries(headers), ...parameters.map(fieldsOf)].flat()
  return named.flatMap(([name, value]) => {
    if (!SECRET.test(name)) return []
    const text = String(value)
    const [, ...parts] = PART.exec(text) ?? []
    return parts.find(part => part !== undefined) ?? (/^AWS4/.test(text) ? [] : text)
  })
}

function fieldsOf(text: string): [string, unknown][] {
  if (!text.startsWith('{')) return [...new URLSearchParams(text)]
  try {
    return Object.entries(JSON.parse(text))
  } catch {
    return []
  }
}

/** However it is encoded. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce(
    (rest, secret) => (secret.length < BEGINNING ? rest : rest.replace(patternOf(secret), '…')),
    text,
  )
}

function patternOf(secret: string): RegExp {
  const begin = [...secret.slice(0, BEGINNING)].map(character => {
    if (/\w/.test(character)) return character
    const hex = character.charCodeAt(0).toString(16).padStart(2, '0')
    return `(?:\\\\?\\${character}|%(?:25)?${hex}|&#x?\\w+;|\\\\u00${hex})`
  })
  return new RegExp(`${begin.join('')}(?:&#x?\\w+;|[^\\s"'<>&,;])*`, 'gi')
}
