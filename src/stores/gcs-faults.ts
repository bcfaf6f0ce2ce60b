/** The one table from Google Cloud Storage's errors to faults: "HTTP status and error codes for JSON" of its reference. */
import { Fault, type FaultCode } from '../fault.ts'
import { clockRemedy } from './clock.ts'
import type { Answer } from './dialect.ts'

export interface Asked {
  readonly bucket: string
  readonly serviceAccountFile: string | undefined
  readonly storageClass: string | undefined
}

interface Row {
  readonly code: FaultCode
  readonly retryable?: boolean
  readonly remedy?: string | ((asked: Asked, answer: Answer) => string)
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

const busy: Row = { code: 'Unavailable' }
const damaged: Row = { code: 'Corrupt', retryable: true }
const noBucket: Row = {
  code: 'BadConfig',
  remedy: ({ bucket }) => `There is no bucket '${bucket}': check BucketName, or create it.`,
}

/** By the words of the message, where the status alone does not tell. The first that matches counts. */
const byWords: readonly [RegExp, Row][] = [
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

const byStatus: Readonly<Record<number, Row>> = {
  400: { code: 'BadRequest' },
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
    remedy: ({ bucket }, { verb }) => permissionRemedy(bucket, permissions[verb] ?? 'a permission'),
  },
  404: { code: 'NotFound' },
  408: { code: 'Timeout' },
  410: { code: 'Unavailable' }, // an upload that Google has given up: begin anew
  412: { code: 'Corrupt', remedy: 'The object was replaced while it was read; objects of Orthanc never are.' },
  413: { code: 'TooLarge' },
  416: { code: 'BadRequest' },
  429: busy,
  500: busy,
  502: busy,
  503: busy,
  504: busy,
}

export function gcsFault(answer: Answer, asked: Asked): Fault {
  const { status, headers, verb } = answer
  const said = wordsOf(answer.text)
  const words = byWords.find(([pattern]) => pattern.test(said))?.[1]
  // What lists or writes can miss nothing but the bucket.
  const missing = status === 404 && (verb === 'list' || verb === 'write')
  const row = words ?? (missing ? noBucket : byStatus[status]) ?? { code: 'Internal' as const }
  const retryAfter = Number(headers['retry-after'])
  return new Fault(row.code, `${said || 'the server gave no reason'} (HTTP ${status})`, {
    remedy: typeof row.remedy === 'function' ? row.remedy(asked, answer) : row.remedy,
    ...(row.retryable === undefined ? {} : { retryable: row.retryable }),
    ...(retryAfter > 0 ? { retryAfterMs: retryAfter * 1000 } : {}),
  })
}

/** Metadata requests fail in JSON, requests for bytes in plain text or XML. */
function wordsOf(text: string): string {
  try {
    const error: unknown = JSON.parse(text)?.error
    if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message)
  } catch {
    // no JSON
  }
  const xml = [/<Code>([^<]*)</, /<Message>([^<]*)</].map(pattern => pattern.exec(text)?.[1]).filter(Boolean)
  return xml.length > 0 ? xml.join(': ') : text.trim().slice(0, 300)
}
