/** Whether files are read ahead, by the configuration. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseConfig } from '../src/config/config.ts'

const s3 = (more: object) => ({
  AwsS3Storage: { BucketName: 'b', Region: 'eu-west-1', AccessKey: 'a', SecretKey: 's', ...more },
})
const azure = (more: object) => ({
  AzureBlobStorage: { ConnectionString: 'AccountName=acct;AccountKey=a2V5', ContainerName: 'images', ...more },
})
const google = (more: object) => ({ GoogleCloudStorage: { BucketName: 'bucket', ...more } })
const directory = { DirectoryStorage: { Path: '/objects' } }

const MB = 1024 * 1024
const memory = (section: object, cloud: object = {}) =>
  parseConfig(JSON.stringify({ ...section, CloudStorage: cloud })).config?.ahead?.memoryBytes

describe('ReadAhead', () => {
  for (const [name, section] of Object.entries({
    S3: s3({}),
    'S3 STANDARD': s3({ StorageClass: 'STANDARD' }),
    'S3 INTELLIGENT_TIERING': s3({ StorageClass: 'INTELLIGENT_TIERING' }),
    'S3 REDUCED_REDUNDANCY': s3({ StorageClass: 'REDUCED_REDUNDANCY' }),
    Azure: azure({}),
    'Azure Hot': azure({ AccessTier: 'Hot' }),
    'Azure Premium': azure({ AccessTier: 'Premium' }),
    Google: google({}),
    'Google STANDARD': google({ StorageClass: 'STANDARD' }),
    'Google MULTI_REGIONAL': google({ StorageClass: 'MULTI_REGIONAL' }),
  }))
    it(`is on by default for ${name}`, () => assert.equal(memory(section), 64 * MB))

  for (const [name, section] of Object.entries({
    'S3 STANDARD_IA': s3({ StorageClass: 'STANDARD_IA' }),
    'S3 ONEZONE_IA': s3({ StorageClass: 'onezone_ia' }),
    'S3 GLACIER_IR': s3({ StorageClass: 'GLACIER_IR' }),
    'S3 GLACIER': s3({ StorageClass: 'GLACIER' }),
    'S3 DEEP_ARCHIVE': s3({ StorageClass: 'DEEP_ARCHIVE' }),
    'S3 of Google NEARLINE': s3({ StorageClass: 'NEARLINE' }),
    'Azure Cool': azure({ AccessTier: 'Cool' }),
    'Azure Cold': azure({ AccessTier: 'cold' }),
    'Azure Archive': azure({ AccessTier: 'Archive' }),
    'Google NEARLINE': google({ StorageClass: 'nearline' }),
    'Google COLDLINE': google({ StorageClass: 'COLDLINE' }),
    'Google ARCHIVE': google({ StorageClass: 'ARCHIVE' }),
    'a directory': directory,
  }))
    it(`is off by default for ${name}, and on when it is said`, () => {
      assert.equal(memory(section), undefined)
      assert.equal(memory(section, { ReadAhead: 'True' }), 64 * MB)
    })

  it('may be turned off', () => assert.equal(memory(s3({}), { ReadAhead: false }), undefined))

  it('has its memory in MB', () => assert.equal(memory(s3({}), { ReadAheadMemory: '256' }), 256 * MB))

  it('is refused when it cannot be right, with the path of the option', () => {
    for (const [cloud, words] of [
      [{ ReadAhead: 'sometimes' }, /CloudStorage\.ReadAhead is "sometimes", but must be true or false/],
      [{ ReadAheadMemory: 0 }, /CloudStorage\.ReadAheadMemory is 0, but must be a whole number of MB from 1 to 65536/],
      [{ ReadAheadMemory: 1.5 }, /CloudStorage\.ReadAheadMemory is 1\.5/],
    ] as const)
      assert.throws(() => memory(s3({}), cloud), words)
  })
})
