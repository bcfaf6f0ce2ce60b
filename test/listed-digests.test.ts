/** What listings tell of the MD5s of objects and of the store's time; and what `verify --digests` makes of it. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import type { Stat } from '../src/stores/store.ts'
import { type Cloud, type Provider, startCloud } from './support/clouds.ts'
import { makeSite, md5Of, named, never, type Site } from './support/verify-stage.ts'

const bytes = Buffer.from('the bytes')
const hex = md5Of(bytes)
const base64 = Buffer.from(hex, 'hex').toString('base64')
const DATE = 'Tue, 03 Mar 2026 10:11:12 GMT'

/** A listing of one object, as the provider writes it, with what it says of its digest. */
const listings: Readonly<Record<Provider, (said: string) => string>> = {
  s3: said =>
    `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>9</Size><LastModified>2026-03-01T00:00:00.000Z</LastModified>${said}</Contents></ListBucketResult>`,
  azure: said =>
    `<EnumerationResults><Blobs><Blob><Name>k</Name><Properties><Content-Length>9</Content-Length><Last-Modified>Sun, 01 Mar 2026 00:00:00 GMT</Last-Modified>${said}</Properties></Blob></Blobs><NextMarker /></EnumerationResults>`,
  gcs: said =>
    `{"kind": "storage#objects", "items": [{"name": "k", "size": "9", "updated": "2026-03-01T00:00:00.000Z"${said}}]}`,
}

async function statIn(cloud: Cloud, provider: Provider, said: string): Promise<Stat | undefined> {
  cloud.meddle = ({ url, method }, response, done) => {
    const isListing = method === 'GET' && (url.searchParams.has('list-type') || url.searchParams.has('prefix'))
    if (done || !isListing) return false
    response.writeHead(200, {
      date: DATE,
      'x-amz-request-id': 'R',
      'x-ms-request-id': 'R',
      'x-guploader-uploadid': 'R',
    })
    response.end(listings[provider](said))
    return true
  }
  for await (const stat of cloud.store.list('', never)) return stat
  return undefined
}

describe('a listing tells the MD5 of an object', () => {
  const cases: readonly [Provider, string, string | undefined][] = [
    ['s3', `<ETag>"${hex}"</ETag>`, hex],
    ['s3', `<ETag>&quot;${hex.toUpperCase()}&quot;</ETag>`, hex],
    ['s3', `<ETag>&#34;${hex}&#34;</ETag>`, hex],
    ['s3', `<ETag>"${hex}-3"</ETag>`, undefined],
    ['s3', '<ETag>"0x8D4BCC2E4835CD0"</ETag>', undefined],
    ['s3', '', undefined],
    ['azure', `<Content-MD5>${base64}</Content-MD5>`, hex],
    ['azure', '<Content-MD5 />', undefined],
    ['azure', '', undefined],
    ['gcs', `, "md5Hash": "${base64}"`, hex],
    ['gcs', ', "md5Hash": "crc"', undefined],
    ['gcs', '', undefined],
  ]
  for (const [provider, said, md5] of cases)
    it(`${provider}: ${said || 'nothing'}`, async () => {
      const cloud = await startCloud(provider)
      try {
        const stat = await statIn(cloud, provider, said)
        assert.equal(stat?.md5, md5)
        assert.equal(stat?.asOf?.toUTCString(), DATE)
        assert.equal(stat?.modified.toISOString(), '2026-03-01T00:00:00.000Z')
      } finally {
        await cloud.close()
      }
    })

  it('gcs: asks for it', async () => {
    const cloud = await startCloud('gcs')
    await statIn(cloud, 'gcs', '')
    assert.match(cloud.seen[0]?.url.searchParams.get('fields') ?? '', /md5Hash/)
    await cloud.close()
  })

  it('s3: so does an answer about one object, but not of one that is encrypted with KMS', async () => {
    for (const kms of [false, true]) {
      const cloud = await startCloud('s3')
      await cloud.store.put('k', sourceOf(bytes), never)
      cloud.meddle = ({ method }, response, done) => {
        if (method === 'HEAD' && !done && kms) response.setHeader('x-amz-server-side-encryption', 'aws:kms')
        return false
      }
      const stat = await cloud.store.stat('k', never)
      assert.equal(stat?.md5, kms ? undefined : hex)
      assert.ok(stat?.asOf)
      await cloud.close()
    }
  })
})

describe('verify --digests', () => {
  /** The store tells MD5s: in listings those of `listed`, else of what it has; and in answers about one object. */
  function telling(site: Site, listed: ReadonlyMap<string, string | undefined>, alone = listed): { reads: number } {
    const { list, stat, get } = site.store
    const counted = { reads: 0 }
    const right = (key: string) => site.index.files.get(key.slice(5, 41))?.md5
    const told = (words: typeof listed, one: Stat) => {
      return { ...one, md5: words.has(one.key) ? words.get(one.key) : right(one.key) }
    }
    site.store.list = async function* (prefix, signal) {
      for await (const one of list(prefix, signal)) yield told(listed, one)
    }
    site.store.stat = async (key, signal) => {
      const one = await stat(key, signal)
      return one && told(alone, one)
    }
    site.store.get = (key, range, signal) => {
      if (!range) counted.reads++
      return get(key, range, signal)
    }
    return counted
  }
  const other = md5Of(Buffer.from('other'))

  it('finds an object with another MD5 and reads no other one', async () => {
    const site = makeSite()
    for (let i = 0; i < 20; i++) await site.add()
    const file = await site.add({ bytes })
    const changed = Buffer.from('the byteZ')
    await site.put(site.store, site.keyOf(file), changed)
    const counted = telling(site, new Map([[site.keyOf(file), md5Of(changed)]]))
    const { findings, verification } = await site.verify({ digests: true })
    assert.deepEqual(named(findings), [`corrupt ${site.keyOf(file)}`])
    assert.equal(findings[0]?.found, `the MD5 ${md5Of(changed)}`)
    assert.equal(counted.reads, 2) // a second time, because a network may damage bytes
    assert.deepEqual(verification.tally.digests, { same: 20, unclear: 0 })
  })

  it('does not believe a digest alone: an object whose bytes are right is well', async () => {
    const site = makeSite()
    const files = [await site.add(), await site.add()] as const
    telling(site, new Map([[site.keyOf(files[0]), other]]))
    const { findings, verification } = await site.verify({ digests: true })
    assert.deepEqual(findings, [])
    assert.equal(verification.tally.read.files, 1)
  })

  it('reads nothing where an answer about the object alone tells no MD5', async () => {
    const site = makeSite()
    const files = [await site.add(), await site.add()] as const
    const key = site.keyOf(files[0])
    const counted = telling(site, new Map([[key, other]]), new Map([[key, undefined]]))
    const { findings, verification } = await site.verify({ digests: true })
    assert.deepEqual([findings, counted.reads], [[], 0])
    assert.deepEqual(verification.tally.digests, { same: 1, unclear: 1 })
  })

  it('learns that a server whose digests are never right tells something else', async () => {
    const site = makeSite()
    for (let i = 0; i < 150; i++) await site.add()
    const counted = telling(site, new Map([...site.index.files.values()].map(file => [site.keyOf(file), other])))
    const { findings, verification } = await site.verify({ digests: true })
    assert.deepEqual([findings, counted.reads], [[], 0])
    assert.deepEqual(verification.tally.digests, { same: 0, unclear: 150 })
  })

  it('compares nothing that is sealed, or that the index has no MD5 of', async () => {
    const site = makeSite({ encryption: 'on, and plain objects are read', structure: 'legacy' })
    const sealed = await site.add()
    const without = await site.add({ sealed: false })
    site.index.files.set(without.uuid, { ...without, md5: undefined })
    telling(site, new Map([sealed, without].map(file => [site.keyOf(file), other])))
    const { findings, verification } = await site.verify({ digests: true })
    assert.deepEqual(findings, [])
    assert.deepEqual(verification.tally.digests, { same: 0, unclear: 2 })
  })
})
