import { z } from 'zod'
import { archiveWarning, common, tidy } from './common.ts'
import { connection, connectionOf } from './connection.ts'
import { bad, section } from './reading.ts'
import { accessPointOf, checkEndpoint } from './s3-bucket.ts'
import { shown } from './shown.ts'
import { bareEndpoint, bucketName, flag, MB, optionalText, text, unsendable, whole } from './values.ts'

/** In base units: S3Options of stores/s3/s3.ts. */
export type S3Config = Readonly<ReturnType<typeof readS3>['provider']>

/** S3 takes no smaller ones. */
const SMALLEST_PART_MB = 5

const tags = z
  .record(
    z.string().min(1).max(128),
    text().refine(value => value.length <= 256),
    { error: 'an object of strings' },
  )
  .refine(value => Object.keys(value).length <= 10, {
    error: 'at most 10 tags, names up to 128 and values up to 256 characters',
  })

export const s3Schema = z.object({
  BucketName: bucketName,
  Region: optionalText.optional(),
  AccessKey: optionalText.optional(),
  SecretKey: optionalText.optional(),
  Endpoint: bareEndpoint.default(''),
  VirtualAddressing: flag.default(true),
  UseTransferManager: flag.default(false),
  TransferPoolSize: whole(1, 1000, 'parts').default(10),
  TransferBufferSize: whole(1, 1024, 'MB').default(SMALLEST_PART_MB),
  StorageClass: optionalText.optional(),
  Tags: tags.default({}),
  EnableAwsSdkLogs: flag.default(false),
  ...connection,
  ...common,
})

/** `name`: of the section, which is `value`. */
export function readS3(name: string, value: unknown, warnings: string[], notes: string[]) {
  const o = section(s3Schema, name, value, warnings)
  if ((o.AccessKey === undefined) !== (o.SecretKey === undefined))
    throw bad(`${name} has only one of AccessKey and SecretKey; give both, or neither for the default credentials`)
  const endpoint = o.Endpoint === '' ? undefined : o.Endpoint
  const arn = accessPointOf(name, o.BucketName, endpoint)
  checkEndpoint(name, o.BucketName, endpoint, o.VirtualAddressing, warnings)
  if (/^(GLACIER|DEEP_ARCHIVE)$/i.test(o.StorageClass ?? ''))
    warnings.push(archiveWarning(`${name}.StorageClass`, String(o.StorageClass)))
  for (const option of ['AccessKey', 'StorageClass'] as const) {
    const character = unsendable(o[option] ?? '')
    if (character) throw bad(`${name}.${option} has a character that cannot be sent (${character}): type it again`)
  }
  if (/[\p{Cc}\p{Cf}\u00a0]/u.test(o.SecretKey ?? ''))
    warnings.push(
      `${name}.SecretKey has an invisible character (${unsendable(o.SecretKey ?? '')}): if it should not be there, type the key again`,
    )
  const provider = {
    kind: 's3' as const,
    bucket: o.BucketName,
    accessPoint: arn?.accessPoint,
    region: arn?.region ?? regionOf(name, o.Region, endpoint, notes),
    credentials: o.AccessKey && o.SecretKey ? { accessKeyId: o.AccessKey, secretAccessKey: o.SecretKey } : undefined,
    endpoint,
    virtualAddressing: o.VirtualAddressing,
    ...connectionOf(o),
    transfer: o.UseTransferManager
      ? { concurrency: o.TransferPoolSize, partBytes: Math.max(o.TransferBufferSize, SMALLEST_PART_MB) * MB }
      : undefined,
    storageClass: o.StorageClass,
    tags: o.Tags,
    logRequests: o.EnableAwsSdkLogs,
  }
  // The official plugin's AWS library sends no doubled slashes, so the keys of its objects have none.
  return { provider, common: { ...o, RootPath: tidy(o.RootPath) } }
}

/** Only AWS has regions. Most other servers accept any; the others name the right one in their error. */
function regionOf(name: string, given: string | undefined, endpoint: string | undefined, notes: string[]): string {
  // A part of the host's name at AWS, and of the signature everywhere.
  if (given !== undefined && !(endpoint === undefined ? /^[a-z0-9-]+$/i : /^[!-+.0-~-]+$/).test(given))
    throw bad(`${name}.Region is ${shown('Region', given)}, but must be the bucket's region, such as eu-west-1`)
  if (given !== undefined) return given
  if (endpoint === undefined) throw bad(`${name}.Region is missing; it must be the bucket's region, such as eu-west-1`)
  notes.push(`${name}.Region is not set: as there is an Endpoint, us-east-1 is used`)
  return 'us-east-1'
}
