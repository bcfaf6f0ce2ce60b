/** Uploads in parts that were begun on an S3 server, and neither completed nor aborted. */
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import type { Unfinished } from '../../support/leftovers.suite.ts'
import type { Exchange } from './fault-proxy.ts'
import type { Place } from './places.ts'

/** Counts and aborts them. `exchanges` says which keys were begun: MinIO lists the uploads of one key only. */
export async function unfinished(place: Place, exchanges: readonly Exchange[]): Promise<number> {
  const section = place.config['AwsS3Storage']
  if (!section) return 0
  const text = (option: string) => String(section[option])
  const sdk = new S3Client({
    endpoint: text('Endpoint'),
    region: text('Region'),
    credentials: { accessKeyId: text('AccessKey'), secretAccessKey: text('SecretKey') },
    forcePathStyle: true,
  })
  const Bucket = text('BucketName')
  const begun = exchanges.filter(({ method, path }) => method === 'POST' && /\?uploads\b/.test(path))
  const keys = new Set(begun.map(({ path }) => path.replace(/\?.*/, '').split('/').at(-1)))
  let count = 0
  for (const Prefix of keys) {
    const { Uploads = [] } = await sdk.send(new ListMultipartUploadsCommand({ Bucket, Prefix }))
    for (const { Key, UploadId } of Uploads) await sdk.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
    count += Uploads.length
  }
  sdk.destroy()
  return count
}

/** Begins uploads that nobody will end. */
export function uploads(sdk: S3Client, Bucket: string): Unfinished {
  return {
    removes: true,
    async begin(Key) {
      const { UploadId } = await sdk.send(new CreateMultipartUploadCommand({ Bucket, Key }))
      await sdk.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: 'some bytes' }))
    },
  }
}
