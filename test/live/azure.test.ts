/** The Azure store against Azurite, and against Microsoft's own SDK: what one writes the other reads. */
import assert from 'node:assert/strict'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { before, describe, it } from 'node:test'
import {
  AccountSASPermissions,
  AccountSASResourceTypes,
  AccountSASServices,
  BlobServiceClient,
  ContainerSASPermissions,
  generateAccountSASQueryParameters,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from '@azure/storage-blob'
import { collect, type Source } from '../../src/bytes.ts'
import { type AzureOptions, azureStore } from '../../src/stores/azure/azure.ts'
import type { Store } from '../../src/stores/store.ts'
import { withChecksum } from '../../src/stores/wrappers/checksum.ts'
import { withLog } from '../../src/stores/wrappers/log.ts'
import { withRetry } from '../../src/stores/wrappers/retry.ts'
import { itSays } from '../support/faults.suite.ts'
import { flaky } from '../support/flaky.ts'
import { describeBoth } from '../support/sdk.suite.ts'
import { chunked, describeStore, MANY, never, noise } from '../support/store.suite.ts'
import { liveServer } from './support/servers.ts'

const server = liveServer('azurite')
const silent = () => {}
const MB = 1024 * 1024
const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('base64')

if (server) {
  const credential = new StorageSharedKeyCredential(server.account, server.key)
  const sdk = new BlobServiceClient(server.endpoint, credential)
  const environment = { caFile: undefined, proxy: undefined, probeKey: 'probe' }
  const optionsFor = (container: string, more: Partial<AzureOptions> = {}): AzureOptions => ({
    account: server.account,
    endpoint: server.endpoint,
    container,
    credentials: { kind: 'key', account: server.account, key: server.key },
    createContainer: false,
    accessTier: undefined,
    connectTimeoutMs: 60_000,
    requestTimeoutMs: 120_000,
    maxConnections: 25,
    maxRetries: 2,
    ...more,
  })
  const open = (container: string, more: Partial<AzureOptions> = {}): Store =>
    azureStore(optionsFor(container, more), environment, { info: silent, warn: silent })
  const newContainer = async (): Promise<string> => {
    const name = `t-${randomUUID()}`
    await sdk.createContainer(name)
    return name
  }
  const inContainer = async (wrap: (store: Store) => Store = store => store) => {
    const store = open(await newContainer())
    return { store: wrap(store), dispose: () => store.close() }
  }
  const retried = withRetry({ maxRetries: 10, firstDelayMs: 1 }, silent)
  const hours = (n: number) => new Date(Date.now() + n * 3_600_000)
  const sasFor = (containerName: string, letters: string, ends = hours(1)) =>
    generateBlobSASQueryParameters(
      { containerName, permissions: ContainerSASPermissions.parse(letters), startsOn: hours(-2), expiresOn: ends },
      credential,
    ).toString()

  describeStore('azure', () => inContainer(), { listed: MANY, storageClass: 'Hot' })
  describeStore('withLog(withChecksum(withRetry(flaky(azure))))', () =>
    inContainer(store => withLog(silent)(withChecksum(retried(flaky(store))))),
  )
  describeStore('azure by a shared access signature', async () => {
    const container = await newContainer()
    const store = open(container, { credentials: { kind: 'sas', sas: sasFor(container, 'rwdl') } })
    return { store, dispose: () => store.close() }
  })

  describeBoth('azure and the official SDK', async () => {
    const container = sdk.getContainerClient(await newContainer())
    const store = open(container.containerName)
    return {
      store,
      write: async (key, bytes) => void (await container.getBlockBlobClient(key).uploadData(bytes)),
      read: key => container.getBlockBlobClient(key).downloadToBuffer(),
      dispose: () => store.close(),
    }
  })

  describe('azure', () => {
    let container: string
    before(async () => {
      container = await newContainer()
    })

    for (const size of [1000, 40 * MB])
      it(`stores an MD5 and the tier with ${size} bytes`, async () => {
        const store = open(container, { accessTier: 'Cool' })
        const bytes = noise(size, 2)
        await store.put(`tier/${size}`, chunked(bytes), never)
        const found = await sdk.getContainerClient(container).getBlobClient(`tier/${size}`).getProperties()
        assert.equal(found.accessTier, 'Cool')
        assert.equal(Buffer.from(found.contentMD5 ?? []).toString('base64'), md5(bytes))
        const content = await store.get(`tier/${size}`, undefined, never)
        assert.deepEqual(content.digest, { name: 'md5', value: md5(bytes) })
        assert.deepEqual(await collect(content), bytes)
        await store.close()
      })

    it('an upload in blocks that fails shows nothing, and the next one succeeds', async () => {
      const store = open(container)
      const body: Source = {
        size: 40 * MB,
        open: range => (range?.start ? brokenBody() : chunked(noise(8 * MB)).open()),
      }
      await assert.rejects(store.put('failed', body, never))
      assert.equal(await store.stat('failed', never), undefined)
      await store.put('failed', chunked(noise(33 * MB)), never)
      assert.equal((await store.stat('failed', never))?.size, 33 * MB)
      await store.close()
    })

    it('two uploads of one object in blocks at once do not mix', async () => {
      const store = open(container)
      const bytes = noise(33 * MB, 8)
      const results = await Promise.allSettled([1, 2].map(() => store.put('twice', chunked(bytes), never)))
      assert.ok(results.some(({ status }) => status === 'fulfilled'))
      assert.deepEqual(await collect(await withChecksum(store).get('twice', undefined, never)), bytes)
      await store.close()
    })

    it('makes a missing container when Orthanc starts, and only then, and says so', async () => {
      const name = `made-${randomUUID()}`
      const lines: string[] = []
      const warn = (line: string) => lines.push(line)
      const store = open(name, { createContainer: true })
      await assert.rejects(store.put('x', chunked(noise(5)), never), { code: 'BadConfig' }, 'a write makes none')
      await assert.rejects(store.check(never, { purpose: 'status', warn }), { code: 'BadConfig' })
      await store.check(never, { purpose: 'look', warn })
      assert.match(lines.splice(0).join('\n'), /^there is no container .* yet: Orthanc creates it when it starts$/)
      await store.check(never, { warn })
      await store.put('x', chunked(noise(5)), never)
      await store.check(never, { warn })
      assert.equal(lines.length, 1)
      assert.match(lines[0] ?? '', new RegExp(`'${name}'.*make sure in Azure that it is private`))
      assert.equal((await sdk.getContainerClient(name).getAccessPolicy()).blobPublicAccess, undefined)
      await store.close()
    })
  })

  describe('azure says what is wrong', () => {
    let container = ''
    before(async () => {
      container = await newContainer()
    })
    const lacking = (more: Partial<AzureOptions>) => () => open(container, { maxRetries: 0, ...more })
    const withSas = (letters: string, ends?: Date) => () =>
      open(container, { maxRetries: 0, credentials: { kind: 'sas', sas: sasFor(container, letters, ends) } })

    const wrong = randomBytes(64).toString('base64')
    const key = { kind: 'key', account: server.account, key: wrong } as const
    itSays('a wrong account key', lacking({ credentials: key }), 'Denied', /AccountKey is/, { secret: wrong })
    itSays('an expired SAS', withSas('rwdl', hours(-1)), 'Denied', /signature expired at 20\d\d-/)
    itSays('a missing container', lacking({ container: 'no-such-container' }), 'BadConfig', /no container 'no-such-con/)
    itSays('a SAS that may not write', withSas('rdl'), 'Denied', /needs the permission w/, { verbs: ['check', 'put'] })
    itSays('a SAS that may not read', withSas('wdl'), 'Denied', /permission r/, { verbs: ['check', 'get', 'stat'] })
    itSays('a SAS that may not delete', withSas('rwl'), 'Denied', /permission d/, { verbs: ['remove'] })
    it('a SAS that may not delete stops no start, but is warned of', async () => {
      const lines: string[] = []
      const store = withSas('rwl')()
      await store.check(never, { warn: line => lines.push(line) })
      await store.close()
      assert.match(lines.join('\n'), /^there is no permission to remove, .* azure:.*permission d/)
    })
    it('a SAS that may only read is enough where Orthanc is ReadOnly, and for the status', async () => {
      const store = withSas('r')()
      await store.check(never, { writes: false })
      await store.check(never, { purpose: 'status' })
      await store.close()
    })
    itSays('a SAS that may not list', withSas('rwd'), 'Denied', /permission l/, { verbs: ['list'] })
    itSays(
      'a host that does not exist',
      lacking({ endpoint: 'http://no.such.host.invalid' }),
      'Unavailable',
      /host|DNS/,
    )
    itSays('nobody there', lacking({ endpoint: 'http://127.0.0.1:1/x' }), 'Unavailable', /Nothing listens/)

    it('an account SAS that is not for objects', async () => {
      const sas = generateAccountSASQueryParameters(
        {
          permissions: AccountSASPermissions.parse('rwdl'),
          resourceTypes: AccountSASResourceTypes.parse('s').toString(),
          services: AccountSASServices.parse('b').toString(),
          expiresOn: hours(1),
        },
        credential,
      ).toString()
      const store = open(container, { credentials: { kind: 'sas', sas } })
      await assert.rejects(store.check(never), { code: 'Denied' })
      await store.close()
    })

    it('nothing to a SAS that may do all but list: that is not needed', async () => {
      const store = withSas('rwd')()
      await store.check(never)
      await store.close()
    })
  })
} else it('needs Azurite', { skip: 'there is none' })

async function* brokenBody(): AsyncIterable<Uint8Array> {
  yield noise(10)
  throw new Error('broken on purpose')
}
