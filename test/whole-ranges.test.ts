/**
 * Orthanc 1.12.8 and newer ask for ranges only, most often for the range that is the whole file. Such a read is the
 * same as a whole one: it proves as much, and asks the store as often. The area is composed as the engine does it.
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Attachment } from '../src/area/area.ts'
import { collect, type Range, sourceOf } from '../src/bytes.ts'
import { type Composition, compose } from '../src/compose.ts'
import { parseConfig } from '../src/config/config.ts'
import { Fault } from '../src/fault.ts'
import { logTo } from '../src/log.ts'
import { type Cloud, type Provider, providers } from './support/clouds.ts'
import { never, noise } from './support/store.suite.ts'
import { objectStorage } from './support/tiers.ts'
import { cloudOfTest, undo } from './support/undo.ts'

const MB = 1024 * 1024

interface Stage {
  readonly area: Composition['area']
  store(file: Attachment, bytes: Buffer): Promise<void>
  /** Changes a byte of each object, as it lies in the store. */
  damage(): void
  /** Requests to the store since the last call. */
  requests(): number
}

const sections: Readonly<Record<Provider, (endpoint: string) => Record<string, object>>> = {
  s3: Endpoint => ({
    AwsS3Storage: {
      ...{ BucketName: 'bucket', Region: 'us-east-1', AccessKey: 'a', SecretKey: 's', Endpoint, MaxRetries: 0 },
      VirtualAddressing: false,
    },
  }),
  azure: endpoint => ({
    AzureBlobStorage: {
      ConnectionString: `AccountName=acct;AccountKey=a2V5;BlobEndpoint=${endpoint}/acct`,
      ...{ ContainerName: 'images', MaxRetries: 0 },
    },
  }),
  gcs: Endpoint => ({ GoogleCloudStorage: { BucketName: 'images', Endpoint, MaxRetries: 0 } }),
}

function folderOfTest(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-whole-'))
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function composed(root: Record<string, object>, options: object): Composition {
  const [[name, section] = ['', {}]] = Object.entries(root)
  const json = JSON.stringify({ [name]: { ...section, ...options }, StorageDirectory: folderOfTest() })
  const { config } = parseConfig(json)
  assert.ok(config)
  const composition = compose(
    config,
    logTo(() => {}),
  )
  undo.push(() => composition.store.close())
  return composition
}

async function cloudStage(provider: Provider, options: object): Promise<Stage> {
  const cloud = await cloudOfTest(provider)
  const { area, hybrid } = composed(sections[provider](cloud.endpoint), options)
  return {
    area,
    async store(file, bytes) {
      await area.create(file, sourceOf(bytes), never)
      if (hybrid?.mode === 'WriteToFileSystem')
        await hybrid.area.move(file, objectStorage, { keepSource: false }, never)
      cloud.seen.length = 0
    },
    damage: () => flipping(cloud),
    requests: () => cloud.seen.splice(0).length,
  }
}

/** The digests that the server has of its objects are those of the right bytes. */
function flipping(cloud: Cloud): void {
  cloud.meddle = ({ method }, response, done) => {
    if (method !== 'GET' || !done) return false
    const end = response.end.bind(response)
    response.end = ((bytes: Buffer) => end(flipped(bytes))) as ServerResponse['end']
    return false
  }
}

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  const at = Math.floor(copy.length / 2)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

async function directoryStage(options: object): Promise<Stage> {
  const Path = folderOfTest()
  const { area } = composed({ DirectoryStorage: { Path } }, options)
  return {
    area,
    store: (file, bytes) => area.create(file, sourceOf(bytes), never),
    damage() {
      for (const name of readdirSync(Path).filter(one => one.includes('.dcm')))
        writeFileSync(join(Path, name), flipped(readFileSync(join(Path, name))))
    },
    requests: () => 0,
  }
}

const sealed = (more: object = {}) => ({
  StorageEncryption: { Enable: true, MasterKey: [1, keyFile()], MaxConcurrentInputSize: 100, ...more },
})
function keyFile(): string {
  const path = join(folderOfTest(), 'master.key')
  writeFileSync(path, Buffer.alloc(32, 7).toString('base64'), { mode: 0o600 })
  return path
}

const envelopes: Readonly<Record<string, () => object>> = {
  plain: () => ({}),
  encrypted: sealed,
  'encrypted with RangeReads': () => sealed({ RangeReads: true }),
  'encrypted, or plain from before': () => sealed({ AllowUnencryptedRead: true }),
}

const places: Readonly<Record<string, (options: object) => Promise<Stage>>> = {
  ...Object.fromEntries(
    providers.map(provider => [provider, (options: object) => cloudStage(provider, options)] as const),
  ),
  's3 with the transfer manager': options => cloudStage('s3', { ...options, UseTransferManager: true }),
  'a hybrid mode that writes to S3': options => cloudStage('s3', { ...options, HybridMode: 'WriteToObjectStorage' }),
  'a hybrid mode that has moved to S3': options => cloudStage('s3', { ...options, HybridMode: 'WriteToFileSystem' }),
  'a directory': directoryStage,
}

const outcomeOf = (stage: Stage, file: Attachment, range: Range | undefined) =>
  stage.area.deliver(file, range, collect, never).catch(Fault.from)

for (const [place, stageOn] of Object.entries(places))
  for (const [envelope, options] of Object.entries(envelopes))
    describe(`the range that is the whole file, ${place}, ${envelope}`, () => {
      const manager = place.includes('transfer manager')
      // A small one travels in one buffer, one of 3 MB does not, and that of 11 MB goes in parts.
      for (const size of [1000, 3 * MB, ...(manager ? [11 * MB] : [])]) {
        const inParts = size > 5 * MB
        const range = { start: 0, end: size }
        const file: Attachment = { uuid: randomUUID(), type: 'dicom' }

        it(`of ${size} bytes takes as many requests as a whole read`, async () => {
          const stage = await stageOn(options())
          await stage.store(file, noise(size))
          assert.ok(((await outcomeOf(stage, file, undefined)) as Buffer).equals(noise(size)))
          const whole = stage.requests()
          assert.ok(((await outcomeOf(stage, file, range)) as Buffer).equals(noise(size)))
          assert.equal(stage.requests(), whole)
          assert.equal(whole, place === 'a directory' ? 0 : inParts ? 3 : 1)
        })

        it(`of ${size} bytes is no success where a whole read is none`, async () => {
          const stage = await stageOn(options())
          await stage.store(file, noise(size))
          stage.damage()
          const whole = await outcomeOf(stage, file, undefined)
          const ranged = await outcomeOf(stage, file, range)
          // Nobody keeps the digest of a plain file in a directory, nor S3 that of all parts together.
          const unknown = envelope === 'plain' && (place === 'a directory' || inParts)
          for (const outcome of [whole, ranged])
            assert.equal(outcome instanceof Fault ? outcome.code : 'delivered', unknown ? 'delivered' : 'Corrupt')
        })
      }
    })
