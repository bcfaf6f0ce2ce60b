import { z } from 'zod'
import { common } from './common.ts'
import type { ProviderOptions } from './config.ts'
import { type ConnectionConfig, connection, connectionOf } from './connection.ts'
import { bad, section } from './reading.ts'
import { endpoint, flag, MB, optionalText, requiredText, text, unsendable, whole } from './values.ts'

export interface S3Config extends ConnectionConfig {
  readonly kind: 's3'
  readonly bucket: string
  readonly region: string
  /** undefined = AWS's default credential chain. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined
  /** Scheme included; undefined = AWS. */
  readonly endpoint: string | undefined
  readonly virtualAddressing: boolean
  readonly transfer: { readonly concurrency: number; readonly partBytes: number } | undefined
  readonly storageClass: string | undefined
  readonly tags: Readonly<Record<string, string>>
  readonly logRequests: boolean
}

const tags = z
  .record(
    z.string().min(1).max(128),
    text().refine(value => value.length <= 256),
    { error: 'an object of strings' },
  )
  .refine(value => Object.keys(value).length <= 10, {
    error: 'at most 10 tags, names up to 128 and values up to 256 characters',
  })

const schema = z.object({
  BucketName: requiredText("the bucket's name"),
  Region: requiredText("the bucket's region, such as eu-west-1"),
  AccessKey: optionalText.optional(),
  SecretKey: optionalText.optional(),
  Endpoint: endpoint.default(''),
  VirtualAddressing: flag.default(true),
  UseTransferManager: flag.default(false),
  TransferPoolSize: whole(1, 100, 'parts').default(10),
  TransferBufferSize: whole(5, 1024, 'MB').default(5),
  StorageClass: optionalText.optional(),
  Tags: tags.default({}),
  EnableAwsSdkLogs: flag.default(false),
  ...connection,
  ...common,
})

/** `name`: of the section, which is `value`. */
export function readS3(name: string, value: unknown, warnings: string[]): ProviderOptions {
  const o = section(schema, name, value, warnings)
  if ((o.AccessKey === undefined) !== (o.SecretKey === undefined))
    throw bad(`${name} has only one of AccessKey and SecretKey; give both, or neither for the default credentials`)
  for (const option of ['AccessKey', 'StorageClass'] as const) {
    const character = unsendable(o[option] ?? '')
    if (character) throw bad(`${name}.${option} has a character that cannot be sent (${character}): type it anew`)
  }
  if (/[\p{Cc}\p{Cf}\u00a0]/u.test(o.SecretKey ?? ''))
    warnings.push(`${name}.SecretKey has an invisible character (${unsendable(o.SecretKey ?? '')}): is it meant?`)
  const provider: S3Config = {
    kind: 's3',
    bucket: o.BucketName,
    region: o.Region,
    credentials: o.AccessKey && o.SecretKey ? { accessKeyId: o.AccessKey, secretAccessKey: o.SecretKey } : undefined,
    endpoint: o.Endpoint === '' ? undefined : o.Endpoint,
    virtualAddressing: o.VirtualAddressing,
    ...connectionOf(o),
    transfer: o.UseTransferManager
      ? { concurrency: o.TransferPoolSize, partBytes: o.TransferBufferSize * MB }
      : undefined,
    storageClass: o.StorageClass,
    tags: o.Tags,
    logRequests: o.EnableAwsSdkLogs,
  }
  return { provider, common: o }
}
