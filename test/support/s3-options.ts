import type { S3Options } from '../../src/stores/s3/s3.ts'

/** Of a bucket with nothing special; a test says what it needs beside. */
export const s3Options: S3Options = {
  bucket: 'bucket',
  region: 'eu-west-1',
  credentials: { accessKeyId: 'AKID', secretAccessKey: 'SECRET' },
  endpoint: undefined,
  virtualAddressing: false,
  connectTimeoutMs: 60_000,
  requestTimeoutMs: 120_000,
  maxConnections: 4,
  maxRetries: 3,
  transfer: undefined,
  storageClass: undefined,
  tags: {},
  logRequests: false,
}
