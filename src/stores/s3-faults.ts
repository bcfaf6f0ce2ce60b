/** The one table from errors of S3 and its kin to faults. Error codes: "Error responses" of the S3 reference. */
import { XMLParser } from 'fast-xml-parser'
import type { Fault } from '../fault.ts'
import type { Answer } from './dialect.ts'
import { faultOfRow, type Row, usualStatus } from './fault-row.ts'

interface Asked {
  readonly bucket: string
  readonly region: string
  readonly storageClass: string | undefined
}

const parser = new XMLParser({ parseTagValue: false })

const keys: Row<Asked> = {
  code: 'Denied',
  remedy:
    "Most probably AccessKey or SecretKey differs from the server's; behind a proxy that rewrites hosts, try VirtualAddressing false.",
}
const region: Row<Asked> = {
  code: 'BadConfig',
  remedy: (options, { text }) => {
    const right = /<Region>([^<]+)<|expecting '([^']+)'/.exec(text)
    return `Region is '${options.region}', but the bucket is ${right ? `in '${right[1] ?? right[2]}'` : 'elsewhere'}.`
  },
}
const busy: Row<Asked> = { code: 'Unavailable' }
const damaged: Row<Asked> = { code: 'Corrupt', retryable: true }
const permissions: Readonly<Record<string, string>> = {
  write: 's3:PutObject',
  read: 's3:GetObject',
  stat: 's3:GetObject',
  remove: 's3:DeleteObject',
  list: 's3:ListBucket',
}

const table: Readonly<Record<string, Row<Asked>>> = {
  NoSuchKey: { code: 'NotFound' },
  NoSuchBucket: {
    code: 'BadConfig',
    remedy: options => `There is no bucket '${options.bucket}': check BucketName, Region and Endpoint, or create it.`,
  },
  SignatureDoesNotMatch: keys,
  InvalidAccessKeyId: { code: 'Denied', remedy: 'The server does not know this AccessKey.' },
  AccessDenied: {
    code: 'Denied',
    remedy: (options, { verb }) =>
      `The credentials need the permission ${permissions[verb] ?? 's3:*'} on bucket '${options.bucket}'.`,
  },
  ExpiredToken: {
    code: 'Denied',
    remedy: 'The temporary credentials have expired: see where the default chain takes them from.',
  },
  InvalidToken: { code: 'Denied' },
  RequestTimeTooSkewed: { code: 'Denied', remedy: "This machine's clock is wrong: synchronise it (NTP)." },
  PermanentRedirect: region,
  AuthorizationHeaderMalformed: region,
  IllegalLocationConstraintException: region,
  TemporaryRedirect: {
    code: 'Unavailable',
    remedy: 'The bucket is new and its name not yet known everywhere: wait, or use its own regional endpoint.',
  },
  InvalidObjectState: {
    code: 'Denied',
    remedy: 'The object is in an archive class: restore it first (S3 RestoreObject), or change the lifecycle rule.',
  },
  InvalidStorageClass: {
    code: 'BadConfig',
    remedy: options => `The server does not know StorageClass '${options.storageClass}'.`,
  },
  BadDigest: damaged,
  InvalidDigest: damaged,
  IncompleteBody: damaged,
  RequestTimeout: { code: 'Timeout' },
  SlowDown: busy,
  ServiceUnavailable: busy,
  InternalError: busy,
  OperationAborted: busy,
  InvalidRange: { code: 'BadRequest' },
  PreconditionFailed: {
    code: 'Corrupt',
    remedy: 'The object was replaced while it was read; objects of Orthanc never are.',
  },
  NoSuchUpload: { code: 'Unavailable', remedy: 'The upload was abandoned by somebody else, such as a lifecycle rule.' },
  EntityTooLarge: { code: 'TooLarge' },
  QuotaExceeded: { code: 'TooLarge', remedy: 'Raise the quota of the bucket or user, or make room.' },
  XMinioStorageFull: { code: 'TooLarge', remedy: "Make room on the server's disks." },
}

const byStatus: Readonly<Record<number, Row<Asked>>> = {
  ...usualStatus,
  301: region,
  307: busy,
  401: keys,
}

export function s3Fault(answer: Answer, asked: Asked): Fault {
  const { status, text } = answer
  const error = text.includes('<Error>') ? parser.parse(text)?.Error : undefined
  const name: string = typeof error?.Code === 'string' ? error.Code : ''
  const said = typeof error?.Message === 'string' ? error.Message : ''
  const words = [name, said].filter(Boolean).join(': ')
  return faultOfRow(table[name] ?? byStatus[status], words, answer, asked)
}
