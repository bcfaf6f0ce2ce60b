/** From an answer to the Stat of an object. An answer without a name or a size does not come from the store. */
import type { Stat } from '../store.ts'
import type { HttpAnswer } from './dialect.ts'
import { notTheStores } from './stranger.ts'

/** Values as they were found in XML, JSON or a header. */
export interface Entry {
  readonly key: unknown
  readonly size: unknown
  readonly modified: unknown
  /** Of the stored bytes, in lower-case hex, where the answer has it. */
  readonly md5?: string | undefined
  /** As the provider names it. */
  readonly storageClass?: unknown
}

/** Nothing else is a class: reports count by it, and print it. */
const STORAGE_CLASS = /^[\w.-]{1,64}$/

export function statFrom(answer: HttpAnswer, { key, size, modified, md5, storageClass }: Entry): Stat {
  const bytes = typeof size === 'number' || (typeof size === 'string' && /^\d+$/.test(size)) ? Number(size) : Number.NaN
  if (typeof key !== 'string' || key === '') throw notTheStores(answer, 'an object without a name')
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw notTheStores(answer, 'an object without a size')
  const time = new Date(typeof modified === 'string' ? modified : Number.NaN)
  return {
    key,
    size: bytes,
    modified: time,
    ...(md5 !== undefined && { md5 }),
    ...(typeof storageClass === 'string' && STORAGE_CLASS.test(storageClass) && { storageClass }),
  }
}

/** From an answer to HEAD about the object `key`, on S3 and Azure. */
export function statFromHead(key: string, answer: HttpAnswer, more: Pick<Entry, 'md5' | 'storageClass'>): Stat {
  const { 'content-length': length, 'last-modified': modified } = answer.headers
  const size = Number(length ?? Number.NaN)
  if (!Number.isSafeInteger(size)) throw notTheStores(answer, 'no Content-Length')
  return statFrom(answer, { key, size, modified, ...more })
}

/** An MD5 as Azure and Google write it, in base64. Undefined for what is none. */
export function md5FromBase64(value: unknown): string | undefined {
  return typeof value === 'string' && /^[A-Za-z0-9+/]{22}==$/.test(value)
    ? Buffer.from(value, 'base64').toString('hex')
    : undefined
}

/** The token of the next page; undefined = there is none. */
export function nextFrom(token: unknown, answer: HttpAnswer): string | undefined {
  if (token === undefined || token === '') return undefined
  if (typeof token !== 'string') throw notTheStores(answer, 'a listing that does not say whether it goes on')
  return token
}

/** A key that was encoded for the answer. */
export function decodedKey(key: unknown, answer: HttpAnswer): string {
  try {
    return decodeURIComponent(String(key))
  } catch {
    throw notTheStores(answer, 'a name that cannot be read')
  }
}
