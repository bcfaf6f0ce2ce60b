/** The one table from errors of S3 and compatible servers to faults. Codes: "Error responses" of the S3 reference. */
import { type Fault, oneLine, rowFor, sameRow } from '../../fault.ts'
import type { Headers, HttpRefusal } from '../http/dialect.ts'
import { asksForOne, busy, damaged, type FaultRow, faultOfRow, replaced, usualStatus } from '../http/fault-row.ts'
import { xmlError } from '../http/xml.ts'

interface S3RemedyContext {
  readonly bucket: string
  readonly region: string
  readonly storageClass: string | undefined
  readonly tags: Readonly<Record<string, string>>
}

const LONGEST_REGION = 60

const keys: FaultRow<S3RemedyContext> = {
  code: 'Denied',
  remedy:
    "Most probably AccessKey or SecretKey differs from the server's; behind a proxy that rewrites hosts, try VirtualAddressing false.",
}
const region: FaultRow<S3RemedyContext> = {
  code: 'BadConfig',
  remedy: (options, { text, headers }) => {
    const said = /<Region>([^<]+)<|expecting '([^']+)'/.exec(text)
    const right = said?.[1] ?? said?.[2] ?? headers['x-amz-bucket-region']
    return `Region is '${options.region}', but the bucket is ${right ? `in '${oneLine(String(right), LONGEST_REGION)}'` : 'elsewhere'}.`
  },
}
const archived: FaultRow<S3RemedyContext> = {
  code: 'Archived',
  remedy: 'The object is in an archive class: restore it first (S3 RestoreObject), or change the lifecycle rule.',
}
const kmsKey: FaultRow<S3RemedyContext> = {
  code: 'Denied',
  remedy: "The bucket's KMS key cannot be used: look at its state, its region and its policy.",
}
const kmsActions: Readonly<Record<string, string>> = {
  write: 'kms:GenerateDataKey',
  read: 'kms:Decrypt',
  stat: 'kms:Decrypt',
}
const permissions: Readonly<Record<string, string>> = {
  uploads: 's3:ListBucketMultipartUploads',
  uploadId: 's3:AbortMultipartUpload',
  write: 's3:PutObject',
  read: 's3:GetObject',
  stat: 's3:GetObject',
  remove: 's3:DeleteObject',
  list: 's3:ListBucket',
}
const permissionsOfUploads: Readonly<Record<string, string>> = {
  remove: 's3:AbortMultipartUpload',
  list: 's3:ListBucketMultipartUploads',
}
/** Whether a request lists or abandons unfinished uploads. */
const asksForUploads = ({ verb, draft }: HttpRefusal) =>
  Object.hasOwn(permissionsOfUploads, verb) &&
  draft?.query?.some(([name]) => name === 'uploads' || name === 'uploadId') === true

const table: Readonly<Record<string, FaultRow<S3RemedyContext>>> = {
  NoSuchKey: { code: 'NotFound' },
  NoSuchBucket: {
    code: 'BadConfig',
    remedy: options => `There is no bucket '${options.bucket}': check BucketName, Region and Endpoint, or create it.`,
  },
  InvalidBucketName: {
    code: 'BadConfig',
    remedy: options => `BucketName is '${options.bucket}', but must be the bucket's name alone.`,
  },
  SignatureDoesNotMatch: keys,
  InvalidAccessKeyId: { code: 'Denied', remedy: 'The server does not know this AccessKey.' },
  AccessDenied: {
    code: 'Denied',
    // S3 also answers so for an absent object when the credentials may not list the bucket.
    perhapsAbsent: answer => asksForOne(answer) && !/\bkms:/i.test(answer.text),
    remedy: (options, answer) => {
      const { verb, text } = answer
      const kms =
        /\bkms:\w+/i.exec(text)?.[0] ?? (/(?<![\w/.-])kms(?![\w/.-])/i.test(text) ? kmsActions[verb] : undefined)
      if (kms) return `The credentials need the permission ${kms} on the bucket's KMS key.`
      if (/explicit deny/i.test(text))
        return 'A policy of the bucket, the account or the network forbids it. Bodies are sent with x-amz-content-sha256: UNSIGNED-PAYLOAD, which some policies deny.'
      const list = verb === 'stat' ? ' (and s3:ListBucket, without which S3 does not say that an object is absent)' : ''
      const needed = (asksForUploads(answer) ? permissionsOfUploads : permissions)[verb] ?? 's3:*'
      return `The credentials need the permission ${needed}${list} on bucket '${options.bucket}'.`
    },
  },
  ExpiredToken: {
    code: 'Denied',
    remedy: 'The temporary credentials have expired: see where the default chain takes them from.',
  },
  InvalidToken: { code: 'Denied' },
  RequestTimeTooSkewed: { code: 'Denied', remedy: "This machine's clock is wrong: synchronise it (NTP)." },
  ...sameRow(region, 'PermanentRedirect', 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException'),
  TemporaryRedirect: {
    code: 'Unavailable',
    remedy: 'The bucket is new and its name is not known everywhere yet: wait, or use its regional endpoint.',
  },
  InvalidObjectState: archived,
  InvalidStorageClass: {
    code: 'BadConfig',
    remedy: options => `The server does not know StorageClass '${options.storageClass}'.`,
  },
  ...sameRow(
    damaged,
    'BadDigest',
    'InvalidDigest',
    'IncompleteBody',
    'XAmzContentChecksumMismatch',
    'XAmzContentSHA256Mismatch',
  ),
  RequestTimeout: { code: 'Timeout' },
  ...sameRow(busy, 'SlowDown', 'ServiceUnavailable', 'InternalError', 'OperationAborted'),
  InvalidRange: { code: 'BadRequest' },
  PreconditionFailed: replaced,
  NoSuchUpload: {
    code: 'Unavailable',
    startOver: true,
    remedy: 'Something else removed the unfinished upload, such as a lifecycle rule.',
  },
  InvalidPart: { code: 'Unavailable', startOver: true },
  NotImplemented: {
    code: 'Internal',
    remedy: ({ tags }, answer) => {
      if (asksForUploads(answer)) return 'This server does not tell of unfinished uploads: its own tools may.'
      return Object.keys(tags).length > 0 ? 'Most probably the server does not support object tags: remove Tags.' : ''
    },
  },
  EntityTooLarge: { code: 'TooLarge' },
  QuotaExceeded: { code: 'TooLarge', remedy: 'Raise the quota of the bucket or user, or make room.' },
  XMinioStorageFull: { code: 'TooLarge', remedy: "Make room on the server's disks." },
}

const byStatus: Readonly<Record<number, FaultRow<S3RemedyContext>>> = {
  ...usualStatus,
  301: region,
  307: busy,
  401: keys,
}

export function s3Fault(answer: HttpRefusal, context: S3RemedyContext): Fault {
  const { status } = answer
  const { code: name, message: said } = xmlError(answer.text) ?? { code: '', message: '' }
  // Within an upload, what a server does not find is the upload.
  const known = answer.inUpload && name === 'NoSuchKey' ? 'NoSuchUpload' : name
  const isGone = known === 'NoSuchUpload' && answer.verb === 'remove'
  const row = rowFor(table, isGone ? 'NoSuchKey' : known) ?? (name.startsWith('KMS.') ? kmsKey : byStatus[status])
  return faultOfRow(
    row,
    [name, said].filter(Boolean).join(': '),
    name !== '' || isMarkedByS3(answer.headers),
    answer,
    context,
  )
}

/** Ids that S3 and compatible servers give each request. Google, Alibaba, Huawei and Tencent have their own names. */
const IDS = [
  'x-amz-request-id',
  'x-amz-id-2',
  'x-guploader-uploadid',
  'x-oss-request-id',
  'x-obs-request-id',
  'x-cos-request-id',
]

export function isMarkedByS3(headers: Headers): boolean {
  return IDS.some(name => headers[name] !== undefined)
}
