/** What must stop Orthanc at its start, and the one line that says why; what must not; and the library itself. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { connectionString } from '../../harness/azurite.ts'
import { freePort } from '../../harness/child.ts'
import { makeImage } from '../../harness/dicom.ts'
import { PLUGIN, RefusedToStart, startOrthanc } from '../../harness/orthanc.ts'
import { liveServer, s3Server } from './support/servers.ts'

describe('Orthanc does not start', () => {
  let folder: string
  /** With these, nothing is waited for that may still come. */
  const once = { CloudStorage: { StartupTimeout: 0 } }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-refusal-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const refuses = async (config: Record<string, unknown>, line: RegExp, secret?: string): Promise<void> => {
    const started = startOrthanc({ config: { ...once, ...config }, dir: join(folder, 'orthanc') })
    const refused = await started.then(
      async orthanc => {
        await orthanc.stop()
        assert.fail(`it started:\n${orthanc.log()}`)
      },
      (error: unknown) => error,
    )
    assert.ok(refused instanceof RefusedToStart, String(refused))
    assert.notEqual(refused.exitCode, 0)
    const errors = refused.log.split('\n').filter(text => text.startsWith('E') && line.test(text))
    assert.equal(errors.length, 1, `one line should match ${line}:\n${refused.log}`)
    if (secret) assert.ok(!refused.log.includes(secret), 'a secret is in the log')
  }

  const path = '/nonexistent/parent/objects'
  it('with a folder whose parent is missing', () =>
    refuses({ DirectoryStorage: { Path: path } }, /BadConfig.*Create the folder \/nonexistent\/parent/))
  it('with a malformed option', () =>
    refuses(
      { DirectoryStorage: { Path: '/tmp', StorageStructure: 'Flat' } },
      /StorageStructure is "Flat".*did you mean flat/,
    ))
  it('with two providers', () =>
    refuses(
      { DirectoryStorage: { Path: '/tmp' }, AwsS3Storage: { BucketName: 'b' } },
      /AwsS3Storage and DirectoryStorage are both there/,
    ))
  it('with encryption whose key cannot be read, rather than storing plaintext', () =>
    refuses(
      { DirectoryStorage: { Path: '/tmp', StorageEncryption: { MasterKey: [1, '/nowhere/master.key'] } } },
      /StorageEncryption.MasterKey names \/nowhere\/master.key, which cannot be read.*does not start without its keys/,
    ))
  it('with encryption without a key', () =>
    refuses({ DirectoryStorage: { Path: '/tmp', StorageEncryption: { Enable: true } } }, /MasterKey is missing/))
  const directory = () => ({ DirectoryStorage: { Path: join(folder, 'objects') } })
  it('with an engine that is not there', () =>
    refuses(
      { ...directory(), CloudStorage: { Engine: '/nowhere/engine.mjs' } },
      /CloudStorage.Engine names \/nowhere\/engine.mjs/,
    ))
  it('with a Node.js that is not there', () =>
    refuses({ ...directory(), CloudStorage: { Node: '/nowhere/node' } }, /CloudStorage.Node names \/nowhere\/node/))
  it('with an engine that ends at once, showing its words', async () => {
    const Engine = join(folder, 'engine.mjs')
    writeFileSync(Engine, 'console.error("words of the engine"); process.exit(3)')
    await refuses({ ...directory(), CloudStorage: { Engine } }, /storage engine: words of the engine/)
  })

  const azurite = liveServer('azurite')
  if (azurite) {
    const AccountKey = Buffer.from('not the right key').toString('base64')
    it('with a wrong key of an Azure account', () =>
      refuses(
        {
          AzureBlobStorage: {
            ConnectionString: connectionString({ ...azurite, key: AccountKey }),
            ContainerName: 'c-1',
          },
        },
        /azure:orthanctest\/c-1: AuthorizationFailure.*AccountKey is wrong/,
        AccountKey,
      ))
    it('with a container that is missing and may not be made', () =>
      refuses(
        {
          AzureBlobStorage: {
            ConnectionString: connectionString(azurite),
            ContainerName: 'no-such-container',
            CreateContainerIfNotExists: false,
          },
        },
        /ContainerNotFound.*check ContainerName/,
        azurite.key,
      ))
  }
  const google = liveServer('fake-gcs')
  if (google)
    it('with a missing bucket of Google', () =>
      refuses(
        { GoogleCloudStorage: { BucketName: 'no-such-bucket', Endpoint: google.endpoint } },
        /gcs:no-such-bucket: .*check BucketName/,
      ))

  const server = s3Server()
  if (!server) return
  const section = {
    BucketName: 'no-such-bucket',
    Region: server.region,
    AccessKey: server.accessKey,
    SecretKey: server.secretKey,
    Endpoint: server.endpoint,
    MaxRetries: 1,
  }
  it('with a wrong secret key', () =>
    refuses(
      { AwsS3Storage: { ...section, SecretKey: 'not-the-right-one' } },
      /s3:no-such-bucket: SignatureDoesNotMatch.*AccessKey or SecretKey differs/,
      'not-the-right-one',
    ))
  it('with a missing bucket', () =>
    refuses({ AwsS3Storage: section }, /NoSuchBucket.*check BucketName/, section.SecretKey))
  it('with an endpoint where nobody listens', () =>
    refuses({ AwsS3Storage: { ...section, Endpoint: 'http://127.0.0.1:1' } }, /ECONNREFUSED.*Nothing listens there/))
})

describe('Orthanc starts', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-late-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))
  const image = makeImage({ seed: 1, rows: 8, columns: 8 })

  /** Resolves when the log of an Orthanc that is starting says it, or when it has started, or will not. */
  async function said(dir: string, line: RegExp, started: Promise<unknown>): Promise<void> {
    const log = join(dir, 'orthanc.log')
    let over = false
    const end = () => {
      over = true
    }
    started.then(end, end)
    while (!over && !(existsSync(log) && line.test(readFileSync(log, 'utf8')))) await sleep(20)
  }

  const server = s3Server()
  if (!server) return
  const section = (bucket: string) => ({
    BucketName: bucket,
    Region: server.region,
    AccessKey: server.accessKey,
    SecretKey: server.secretKey,
    Endpoint: server.endpoint,
  })

  it('when the bucket that it waits for is made', async () => {
    const bucket = `late-${randomUUID()}`
    const dir = join(folder, 'bucket')
    const waits = new RegExp(`waiting up to 60 s .*NoSuchBucket.*'${bucket}'`)
    const started = startOrthanc({ config: { AwsS3Storage: section(bucket) }, dir })
    await said(dir, waits, started)
    const sdk = new S3Client({
      endpoint: server.endpoint,
      region: server.region,
      credentials: { accessKeyId: server.accessKey, secretAccessKey: server.secretKey },
      forcePathStyle: true,
    })
    await sdk.send(new CreateBucketCommand({ Bucket: bucket }))
    sdk.destroy()
    const orthanc = await started
    try {
      assert.match(orthanc.log(), waits)
      await orthanc.postJson('/instances', image)
      assert.equal((await orthanc.getJson('/cloud-storage/status')).Reachable, true)
    } finally {
      await orthanc.stop()
    }
  })

  it('at once, without its store, where new files go to the disk', async () => {
    const Endpoint = `http://127.0.0.1:${await freePort()}`
    const AwsS3Storage = { ...section('b'), Endpoint, HybridMode: 'WriteToFileSystem', MaxRetries: 0 }
    const orthanc = await startOrthanc({ config: { AwsS3Storage }, dir: join(folder, 'disk') })
    try {
      const { ID } = await orthanc.postJson('/instances', image)
      assert.deepEqual(await orthanc.getBytes(`/instances/${ID}/file`), image)
      assert.equal((await orthanc.getJson('/cloud-storage/status')).Reachable, false)
      assert.match(orthanc.log(), /W.*Orthanc starts without its object store.*ECONNREFUSED/)
    } finally {
      await orthanc.stop()
    }
  })
})

describe('the library', () => {
  it('needs nothing but the C library', () => {
    const needed = execFileSync('readelf', ['-d', PLUGIN], { encoding: 'utf8' })
    const names = [...needed.matchAll(/NEEDED.*\[(.*)\]/g)].map(([, name]) => name?.replace(/\.so.*/, ''))
    for (const name of names)
      assert.ok(
        ['libc', 'libm', 'libdl', 'libpthread', 'ld-linux-x86-64', 'ld-linux-aarch64'].includes(name ?? ''),
        name,
      )
  })

  it('finds the engine beside itself, also through a symbolic link, and starts disabled without a section', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-library-'))
    mkdirSync(join(folder, 'plugins'))
    const plugin = join(folder, 'plugins', 'libOrthancCloudStorage.so')
    symlinkSync(PLUGIN, plugin)
    const orthanc = await startOrthanc({ config: {}, dir: join(folder, 'orthanc'), plugin })
    assert.match(orthanc.log(), /W.*no section of a storage provider.*disabled/)
    assert.equal(orthanc.enginePid(), undefined)
    await orthanc.stop()
    rmSync(folder, { recursive: true, force: true })
  })
})
