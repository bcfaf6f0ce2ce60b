/** The one table from Google Cloud Storage's errors to faults: "HTTP status and error codes for JSON" of its reference. */
import type { Fault } from '../fault.ts'
import { clockRemedy } from './clock.ts'
import type { Answer } from './dialect.ts'
import { faultOfRow, type Row, usualStatus } from './fault-row.ts'

export interface Asked {
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

const busy: Row<Asked> = { code: 'Unavailable' }
const damaged: Row<Asked> = { code: 'Corrupt', retryable: true }
const noBucket: Row<Asked> = {
  code: 'BadConfig',
  remedy: ({ bucket }) => `There is no bucket '${bucket}': check BucketName, or create it.`,
}

/** By the words of the message, where the status alone does not tell. The first that matches counts. */
const byWords: readonly [RegExp, Row<Asked>][] = [
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

const byStatus: Readonly<Record<number, Row<Asked>>> = {
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
    remedy: ({ bucket }, { verb }) => permissionRemedy(bucket, permissions[verb] ?? 'a permission'),
  },
  410: { code: 'Unavailable' }, // an upload that Google has given up: begin anew
}

export function gcsFault(answer: Answer, asked: Asked): Fault {
  const { status, verb } = answer
  const said = wordsOf(answer.text)
  const words = byWords.find(([pattern]) => pattern.test(said))?.[1]
  // What lists or writes can miss nothing but the bucket.
  const missing = status === 404 && (verb === 'list' || verb === 'write')
  const row = words ?? (missing ? noBucket : byStatus[status])
  return faultOfRow(row, said, answer, asked)
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
