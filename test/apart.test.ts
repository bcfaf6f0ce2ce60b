/** Two tiers that are one place: a move would remove the only copy. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Attachment } from '../src/area/area.ts'
import { collect, sourceOf } from '../src/bytes.ts'
import { compose } from '../src/compose.ts'
import { parseConfig } from '../src/config/config.ts'
import { Fault } from '../src/fault.ts'
import { logTo } from '../src/log.ts'
import { apart } from '../src/stores/apart.ts'
import { directoryStore } from '../src/stores/directory/directory.ts'
import type { Store } from '../src/stores/store.ts'
import { startCloud } from './support/clouds.ts'
import { memoryStore } from './support/memory-store.ts'
import { fileBytes, moveOptions, never, objectStorage } from './support/tiers.ts'

describe('two tiers in one place', () => {
  const inFolder = async (work: (root: string) => Promise<void>) => {
    const root = mkdtempSync(join(tmpdir(), 'ocs-apart-'))
    try {
      await work(root)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  }
  const composed = (StorageDirectory: string, Path: string, more: object = {}) => {
    const section = { Path, HybridMode: 'WriteToFileSystem', ...more }
    return composedOf({ StorageDirectory, DirectoryStorage: section })
  }
  const composedOf = (configuration: object) => {
    const { config } = parseConfig(JSON.stringify(configuration))
    assert.ok(config)
    return compose(
      config,
      logTo(() => {}),
    )
  }
  const message = /DirectoryStorage\.Path.*StorageDirectory|one and the same place/s

  it('are refused by their paths', () =>
    inFolder(async root => {
      for (const [path, more] of [
        [root, {}],
        [`${root}/x/..`, { StorageStructure: 'legacy' }],
        [join(root, '..'), { RootPath: root.split('/').at(-1) }],
      ] as const)
        assert.throws(() => composed(root, path, more), { code: 'BadConfig', message })
      composed(root, join(root, 'cloud'))
    }))

  it('are found by links, at the start and before a move', () =>
    inFolder(async root => {
      const [real, link] = [join(root, 'real'), join(root, 'link')]
      mkdirSync(real)
      symlinkSync(real, link)
      for (const [path, more] of [
        [link, {}],
        [link, { StorageStructure: 'legacy' }],
        [root, { RootPath: 'link', StorageStructure: 'legacy' }],
      ] as const) {
        const { hybrid, area } = composed(real, path, more)
        assert.ok(hybrid)
        const refused = { code: 'BadConfig', message, remedy: /would remove the only copy.*another folder/ }
        await assert.rejects(hybrid.fileSystem.check(never), refused)
        const attachment: Attachment = { uuid: randomUUID(), type: 'dicom' }
        await area.create(attachment, sourceOf(fileBytes), never)
        await assert.rejects(hybrid.area.move(attachment, objectStorage, moveOptions, never), refused)
        assert.deepEqual(await collect(await area.read(attachment, undefined, never)), fileBytes)
        await area.remove(attachment, never)
      }
      assert.deepEqual(readdirSync(real), [])
    }))

  it('are no two folders that lie in each other', () =>
    inFolder(async root => {
      const { hybrid, store, area } = composed(root, join(root, 'cloud'), { StorageStructure: 'legacy' })
      await store.check(never)
      await hybrid?.fileSystem.check(never)
      const attachment: Attachment = { uuid: randomUUID(), type: 'dicom' }
      await area.create(attachment, sourceOf(fileBytes), never)
      assert.equal(await hybrid?.area.move(attachment, objectStorage, moveOptions, never), 'moved')
      assert.deepEqual(await collect(await area.read(attachment, undefined, never)), fileBytes)
    }))

  it('are found whatever the store is, and nothing is left of the probe', () =>
    inFolder(async root => {
      const files = directoryStore(root, { marked: false })
      const bucket: Store = {
        ...memoryStore('bucket'),
        stat: (key, signal) => files.stat(key.replace(/^x\//, ''), signal),
      }
      await assert.rejects(apart({ disk: files, store: bucket, rootPath: 'x', remedy: '' })(never), {
        code: 'BadConfig',
      })
      assert.deepEqual(readdirSync(root), [])
    }))

  it('are told apart by the store when nothing can be written on the disk, which is when files are moved away', () =>
    inFolder(async root => {
      for (const code of ['TooLarge', 'Denied'] as const) {
        const files = { ...directoryStore(root, { marked: false }), put: () => Promise.reject(new Fault(code, 'full')) }
        const bucket = memoryStore('bucket')
        const options = { disk: files, rootPath: 'x', remedy: '' }
        await assert.rejects(apart({ ...options, store: bucket })(never, true), { code })
        await apart({ ...options, store: bucket })(never)
        for await (const { key } of bucket.list('', never)) assert.fail(`${key} is left`)
        for (const at of [root, join(root, 'x')]) {
          mkdirSync(at, { recursive: true })
          const same = directoryStore(at, { marked: false })
          const keyOf = (key: string) => (at === root ? key : key.replace(/^x\//, ''))
          const store: Store = {
            ...bucket,
            put: (key, body, signal) => same.put(keyOf(key), body, signal),
            remove: (key, signal) => same.remove(keyOf(key), signal),
          }
          const disk = { ...directoryStore(at, { marked: false }), put: files.put }
          await assert.rejects(apart({ ...options, disk, store })(never), { code: 'BadConfig', message })
          assert.deepEqual(
            readdirSync(at).filter(name => name !== 'x'),
            [],
          )
        }
      }
    }))

  it('are doubted as long as the store is silent, and nothing is left of the probe', () =>
    inFolder(async root => {
      const files = directoryStore(root, { marked: false })
      const abort = new AbortController()
      const silent: Store = {
        ...memoryStore('silent'),
        stat: () => {
          abort.abort(new Fault('Timeout', 'nobody waits any more'))
          return Promise.reject(abort.signal.reason)
        },
      }
      const prove = apart({ disk: files, store: silent, rootPath: '', remedy: '' })
      await assert.rejects(prove(abort.signal), { code: 'Timeout' })
      assert.deepEqual(readdirSync(root), [])
    }))

  it('are looked for again before a move when the network breaks meanwhile: no file fails for that', () =>
    inFolder(async root => {
      const server = await startCloud('s3')
      const section = { BucketName: 'bucket', Region: 'r', AccessKey: 'a', SecretKey: 's', Endpoint: server.endpoint }
      const AwsS3Storage = { ...section, VirtualAddressing: false, HybridMode: 'WriteToFileSystem' }
      const { config } = parseConfig(JSON.stringify({ StorageDirectory: join(root, 'disk'), AwsS3Storage }))
      assert.ok(config)
      const { area, hybrid, store } = compose(
        config,
        logTo(() => {}),
      )
      try {
        const attachment: Attachment = { uuid: randomUUID(), type: 'dicom' }
        await area.create(attachment, sourceOf(fileBytes), never)
        let looks = 0
        server.meddle = ({ line }, response, done) => {
          if (done || !line.includes('.orthanc-cloud-storage-') || ++looks > 2) return false
          response.destroy()
          return true
        }
        assert.equal(await hybrid?.area.move(attachment, objectStorage, moveOptions, never), 'moved')
        assert.ok(looks > 2)
      } finally {
        await store.close()
        await server.close()
      }
    }))

  it('are doubted as long as the bucket is missing, which is for the store to say', () =>
    inFolder(async root => {
      const files = directoryStore(root, { marked: false })
      const missing = new Fault('BadConfig', 'NoSuchBucket', { remedy: 'Create it.' })
      const store: Store = { ...memoryStore(), stat: () => Promise.reject(missing) }
      const prove = apart({ disk: files, store, rootPath: '', remedy: '' })
      await assert.rejects(prove(never, true), { code: 'Unavailable', message: 'NoSuchBucket', remedy: 'Create it.' })
      assert.deepEqual(readdirSync(root), [])
    }))

  it('are not looked for where a folder would have to be made for that', () =>
    inFolder(async root => {
      const { hybrid } = composed(join(root, 'disk'), join(root, 'cloud'))
      await hybrid?.fileSystem.check(never, { purpose: 'look' })
      assert.deepEqual(readdirSync(root), [])
    }))

  it('are not taken for one where the bucket or container is still to be made, of which its own check tells', () =>
    inFolder(async root => {
      for (const provider of ['s3', 'azure'] as const) {
        const server = await startCloud(provider)
        server.meddle = (_request, response) => {
          const [status, body] = [404, '<Error><Code>NoSuchBucket</Code><Message>words</Message></Error>']
          response.writeHead(status, { 'x-ms-error-code': 'ContainerNotFound' }).end(body)
          return true
        }
        const shared = { HybridMode: 'WriteToObjectStorage', MaxRetries: 0 }
        const keys = { AccessKey: 'a', SecretKey: 's', Endpoint: server.endpoint, VirtualAddressing: false }
        const ConnectionString = `BlobEndpoint=${server.endpoint}/acct;AccountName=acct;AccountKey=a2V5`
        const section = {
          s3: { AwsS3Storage: { BucketName: 'bucket', ...keys, ...shared } },
          azure: { AzureBlobStorage: { ContainerName: 'images', ConnectionString, ...shared } },
        }[provider]
        const { hybrid, store } = composedOf({ StorageDirectory: root, ...section })
        await hybrid?.fileSystem.check(never, { purpose: 'start' })
        assert.ok(server.seen.length > 0, 'the store was asked')
        await store.close()
        await server.close()
      }
    }))

  it('are no longer doubted when the store has said so once, or says nothing to somebody who may not list', () =>
    inFolder(async root => {
      const files = directoryStore(root, { marked: false })
      let asked = 0
      const answers: (Fault | undefined)[] = [
        new Fault('Unavailable', 'away'),
        new Fault('Denied', 'AccessDenied', { perhapsAbsent: true }),
        undefined,
      ]
      const store: Store = {
        ...memoryStore(),
        stat: async () => {
          const answer = answers[asked++]
          if (answer) throw answer
          return undefined
        },
      }
      const prove = apart({ disk: files, store, rootPath: 'x', remedy: '' })
      await assert.rejects(prove(never), { code: 'Unavailable' })
      await prove(never)
      await prove(never)
      assert.equal(asked, 3)
    }))
})
