/** The one table from Google's errors to faults. Codes: "HTTP status and error codes for JSON" of its reference. */
import type { Fault } from '../../fault.ts'
import { clockRemedy } from '../http/clock.ts'
import type { Headers, HttpAnswer, HttpRefusal } from '../http/dialect.ts'
import { asksForOne, busy, damaged, type FaultRow, faultOfRow, usualStatus } from '../http/fault-row.ts'
import { notTheStores } from '../http/stranger.ts'

export interface GcsRemedyContext {
  readonly bucket: string
  readonly serviceAccountFile: string | undefined
  readonly storageClass: string | undefined
}

export const permissions: Readonly<Record<string, string>> = {
  read: 'storage.objects.get',
  stat: 'storage.objects.get',
  write: 'storage.objects.create',
  remove: 'storage.objects.delete',
  list: 'storage.objects.list',
}

export function permissionRemedy(bucket: string, missing: string): string {
  return `The credentials need ${missing} on bucket '${bucket}', as the role Storage Object User (roles/storage.objectUser) has.`
}

const noBucket: FaultRow<GcsRemedyContext> = {
  code: 'BadConfig',
  remedy: ({ bucket }) => `There is no bucket '${bucket}': check BucketName, or create it.`,
}

/** By words of the message, where the status alone is not enough. The first that matches counts. */
const byWords: readonly [RegExp, FaultRow<GcsRemedyContext>][] = [
  [/bucket does not exist/i, noBucket],
  [/doesn't match calculated|BadDigest/i, damaged],
  [
    /storage ?class/i,
    {
      code: 'BadConfig',
      remedy: ({ storageClass }) => `Most probably Google does not know StorageClass '${storageClass}'.`,
    },
  ],
  [/rate ?limit|SlowDown/i, busy],
  [/retention|hold/i, { code: 'Denied', remedy: 'A retention policy or a hold of the bucket protects the object.' }],
  [/billing|account.*(disabled|closed)/i, { code: 'Denied', remedy: "The project's billing account is closed." }],
]

const byStatus: Readonly<Record<number, FaultRow<GcsRemedyContext>>> = {
  ...usualStatus,
  401: {
    code: 'Denied',
    remedy: ({ serviceAccountFile }, { headers }) =>
      clockRemedy(headers) ??
      (serviceAccountFile === undefined
        ? 'The credentials are not accepted: see where the application default credentials come from.'
        : `The key in ${serviceAccountFile} is not (or no longer) one of the service account: make a new one.`),
  },
  403: {
    code: 'Denied',
    // Google also answers so for an absent object when the credentials may not list the bucket.
    perhapsAbsent: asksForOne,
    remedy: ({ bucket }, { verb }) => permissionRemedy(bucket, permissions[verb] ?? 'a permission'),
  },
}
/** Characters of the message. */
const LOOKED_AT = 300
/** Names of objects and accounts, which may contain any word. */
const NAMES = /\S*[/@]\S*/g

const absent: FaultRow<GcsRemedyContext> = { code: 'NotFound' }
const forgotten: FaultRow<GcsRemedyContext> = { code: 'Unavailable', startOver: true }

export function gcsFault(answer: HttpRefusal, context: GcsRemedyContext): Fault {
  const { status, headers, text } = answer
  const { said, proven } = errorWords(text)
  const own = proven || isMarkedByGoogle(headers)
  return faultOfRow(rowOf(answer, said, own), said, own || (answer.inUpload && status === 410), answer, context)
}

function rowOf(
  { status, verb, inUpload, text }: HttpRefusal,
  said: string,
  own: boolean,
): FaultRow<GcsRemedyContext> | undefined {
  const isAbsent = status === 404 && own && /^(NoSuchKey\b|No such object\b)/.test(said)
  const visible = said.slice(0, LOOKED_AT).replace(NAMES, ' ')
  const words = isAbsent ? undefined : byWords.find(([pattern]) => pattern.test(visible))?.[1]
  if (words) return words
  if (inUpload && (status === 404 || status === 410)) return forgotten
  if (status !== 404 || !own) return byStatus[status]
  // A listing or a write can miss only the bucket, unless the message is about an object.
  if (!isAbsent && (verb === 'list' || verb === 'write')) return noBucket
  return isAbsent || jsonError(text)?.code === 404 ? absent : byStatus[status]
}

/** Requests for metadata fail in JSON, those for bytes in plain text or XML. `proven`: no other server does. */
function errorWords(text: string): { readonly said: string; readonly proven: boolean } {
  const error = jsonError(text)
  // Many services give a code and a message; only Google and its emulators also give a list of reasons.
  if (error)
    return {
      said: typeof error.message === 'string' ? error.message : '',
      proven: Array.isArray(error.errors) && error.errors[0]?.reason !== undefined,
    }
  const xml = [/<Code>([^<]*)</, /<Message>([^<]*)</].map(pattern => pattern.exec(text)?.[1]).filter(Boolean)
  if (/<Error[\s>]/.test(text) && xml.length > 0) return { said: xml.join(': '), proven: true }
  return { said: text.trim().slice(0, LOOKED_AT), proven: /^No such object: /.test(text) }
}

function jsonError(
  text: string,
): { readonly code?: unknown; readonly message: unknown; readonly errors?: unknown } | undefined {
  const error = (parsedObject(text) as { error?: unknown } | undefined)?.error
  return typeof error === 'object' && error !== null && 'message' in error ? error : undefined
}

/** An answer about metadata is an object in JSON. */
export function objectOf<T extends object>(answer: HttpAnswer): T {
  const value = parsedObject(answer.text)
  if (value === undefined) throw notTheStores(answer, 'no JSON')
  return value as T
}

/** An object in JSON, or undefined. */
function parsedObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** What Google gives each request. */
export function isMarkedByGoogle(headers: Headers): boolean {
  return Object.keys(headers).some(name => name.startsWith('x-goog-') || name === 'x-guploader-uploadid')
}
