import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseConfig } from '../src/config/config.ts'

const s3 = { AwsS3Storage: { BucketName: 'b', Region: 'eu-west-1' } }
const parse = (Cache: unknown, more: object = {}, folder: string | undefined = '/etc/orthanc') =>
  parseConfig(JSON.stringify({ ...s3, ...more, CloudStorage: { Cache } }), folder)

describe('CloudStorage.Cache', () => {
  it('is off by default', () => {
    assert.equal(parseConfig(JSON.stringify(s3)).config?.cache, undefined)
    for (const unset of [null, '', 'MUST BE DEFINED BY YOU']) assert.equal(parse(unset).config?.cache, undefined)
  })

  it('needs a path only', () => {
    const { cache } = parse({ Path: '/var/cache/orthanc' }).config ?? {}
    const { apart, ...rest } = cache ?? { apart: [] }
    const MB = 1024 * 1024
    assert.deepEqual(rest, {
      path: '/var/cache/orthanc',
      maxBytes: 10_240 * MB,
      maxAgeMs: 30 * 86_400_000,
      onWrite: true,
    })
    assert.deepEqual(apart, [{ option: 'StorageDirectory', path: '/etc/orthanc/OrthancStorage' }])
  })

  it('takes what environment variables make of its values', () => {
    const given = { Path: '/c', MaxSize: '100', MaxDays: '7', OnWrite: 'False' }
    const { maxBytes, maxAgeMs, onWrite } = parse(given).config?.cache ?? {}
    assert.deepEqual([maxBytes, maxAgeMs, onWrite], [100 * 1024 * 1024, 7 * 86_400_000, false])
  })

  for (const [value, line] of [
    [{}, /CloudStorage\.Cache\.Path is missing; it must be an absolute path/],
    [{ Path: 'cache' }, /CloudStorage\.Cache\.Path is "cache", but must be an absolute path/],
    [{ Path: '/c', MaxSize: 0 }, /CloudStorage\.Cache\.MaxSize is 0, but must be a whole number of MB/],
    [{ Path: '/c', MaxSize: 1.5 }, /CloudStorage\.Cache\.MaxSize/],
    [{ Path: '/c', MaxDays: -1 }, /CloudStorage\.Cache\.MaxDays/],
    [{ Path: '/c', OnWrite: 'maybe' }, /CloudStorage\.Cache\.OnWrite is "maybe", but must be true or false/],
    ['/c', /CloudStorage\.Cache is a string, but must be an object/],
    [true, /CloudStorage\.Cache is .*but must be an object/],
  ] as const)
    it(`refuses ${JSON.stringify(value)}`, () =>
      assert.throws(() => parse(value), { code: 'BadConfig', message: line }))

  it('warns of an option that is not its own', () => {
    assert.match(parse({ Path: '/c', MaxSizeMB: 3 }).warnings.join(), /Cache\.MaxSizeMB is not an option.*MaxSize/)
  })

  for (const [Path, more, option] of [
    ['/data', { StorageDirectory: '/data' }, 'StorageDirectory'],
    ['/data/cache', { StorageDirectory: '/data/' }, 'StorageDirectory'],
    ['/data', { StorageDirectory: '/data/images' }, 'StorageDirectory'],
    ['/data/../data/cache', { StorageDirectory: '/data' }, 'StorageDirectory'],
    ['/index/cache', { StorageDirectory: '/data', IndexDirectory: '/index' }, 'IndexDirectory'],
    ['/etc/orthanc/OrthancStorage', {}, 'StorageDirectory'],
    ['/etc/orthanc/db/cache', { StorageDirectory: 'db' }, 'StorageDirectory'],
  ] as const)
    it(`refuses ${Path} for ${JSON.stringify(more)}`, () =>
      assert.throws(() => parse({ Path }, more), {
        message: new RegExp(`^CloudStorage\\.Cache\\.Path is .*, but ${option} is .*a folder outside of it`),
      }))

  it('refuses a folder in a DirectoryStorage, and takes one whose name only begins alike', () => {
    const config = (Path: string) =>
      parseConfig(JSON.stringify({ DirectoryStorage: { Path: '/objects' }, CloudStorage: { Cache: { Path } } }), '/etc')
    assert.throws(() => config('/objects/cache'), { message: /but DirectoryStorage\.Path is \/objects/ })
    assert.equal(config('/objects-cache').config?.cache?.path, '/objects-cache')
  })
})
