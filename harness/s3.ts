import type { Running } from './child.ts'

export interface S3Settings {
  readonly endpoint: string
  readonly accessKey: string
  readonly secretKey: string
  readonly region: string
}

export interface S3Server extends S3Settings, Running {}

export async function makeS3Bucket({ endpoint, region, accessKey, secretKey }: S3Settings, name: string) {
  const { CreateBucketCommand, S3Client } = await import('@aws-sdk/client-s3') // large: only where it is used
  const credentials = { accessKeyId: accessKey, secretAccessKey: secretKey }
  const sdk = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
  await sdk.send(new CreateBucketCommand({ Bucket: name }))
  sdk.destroy()
}
