/** What stores tell of unfinished writes: servers with their own ideas, odd keys, answers that prove nothing. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { directoryStore } from '../src/stores/directory/directory.ts'
import type { Leftover } from '../src/stores/store.ts'
import { withLog } from '../src/stores/wrappers/log.ts'
import { type Cloud, startCloud } from './support/clouds.ts'
import { leftoversOf } from './support/leftovers.suite.ts'
import { fc } from './support/property.ts'

const never = new AbortController().signal
const DATE = 'Tue, 03 Mar 2026 10:11:12 GMT'
const INITIATED = '2026-03-01T00:00:00.000Z'
const marks = { date: DATE, 'x-amz-request-id': 'R', 'x-ms-request-id': 'R', 'x-guploader-uploadid': 'R' }

const clouds: Cloud[] = []
after(() => Promise.all(clouds.map(cloud => cloud.close())))
async function cloudOf(provider: 'azure' | 'gcs' | 's3'): Promise<Cloud> {
  const cloud = await startCloud(provider, { maxRetries: 1 })
  clouds.push(cloud)
  return cloud
}

type Ask = { readonly method: string; readonly url: URL }
type Answer = readonly [status: number, text: string, headers?: object]

function answering(cloud: Cloud, answer: (request: Ask) => Answer | undefined): void {
  cloud.meddle = (request, response: ServerResponse, done) => {
    const given = done ? undefined : answer(request)
    if (!given) return false
    response.writeHead(given[0], { ...marks, ...given[2] }).end(given[1])
    return true
  }
}

interface Upload {
  readonly key: string
  readonly id: string
}

const order = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
/** As AWS, Ceph and Go write a character that XML could take for something else. */
const escapes: readonly ((character: string) => string)[] = [
  c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' })[c] ?? `&#x${hex(c)};`,
  c => `&#${c.codePointAt(0)};`,
  c => `&#x${hex(c).toUpperCase()};`,
]
const hex = (character: string) => (character.codePointAt(0) ?? 0).toString(16)

interface Server {
  /** MinIO knows no prefixes and no pages. Ceph orders by key and id as one text; a marker of a key is inclusive. */
  readonly like: 'aws' | 'ceph' | 'minio'
  readonly page: number
  readonly written: (character: string) => string
}

function pageOf(all: readonly Upload[], { like, page, written }: Server, { searchParams }: URL): string {
  const given = (name: string) => searchParams.get(name) ?? ''
  const [prefix, key, id] = [given('prefix'), given('key-marker'), given('upload-id-marker')]
  const text = (value: string) => value.replace(/[&<>"'\t\n\r]/g, written)
  const item = (upload: Upload) =>
    `<Upload><Key>${text(upload.key)}</Key><UploadId>${upload.id}</UploadId><Initiated>${INITIATED}</Initiated></Upload>`
  const result = (some: readonly Upload[], more: boolean) => {
    const last = some.at(-1)
    const next = more && last ? [text(last.key), last.id] : ['', '']
    return `<?xml version="1.0"?>\n<ListMultipartUploadsResult><NextKeyMarker>${next[0]}</NextKeyMarker><NextUploadIdMarker>${next[1]}</NextUploadIdMarker><IsTruncated>${more}</IsTruncated>${some.map(item).join('')}</ListMultipartUploadsResult>`
  }
  if (like === 'minio') return result(prefix === '' ? all : all.filter(upload => upload.key === prefix), false)
  const placeOf = (upload: Upload) => (like === 'ceph' ? `${upload.key}.${upload.id}` : `${upload.key}\0${upload.id}`)
  const start = like === 'ceph' ? (id === '' ? key : `${key}.${id}`) : id === '' ? `${key}\x01` : `${key}\0${id}`
  const after = all
    .filter(upload => upload.key.startsWith(prefix) && (key === '' || order(placeOf(upload), start) > 0))
    .sort((a, b) => order(placeOf(a), placeOf(b)))
  return result(after.slice(0, page), after.length > page)
}

describe('unfinished uploads on S3', () => {
  it('are all listed that have the prefix, and no others, with odd keys, on servers with their own ideas', async () => {
    const cloud = await cloudOf('s3')
    const oddities = [
      'a',
      'b/',
      '-',
      '.',
      ' ',
      '+',
      '%20',
      '&amp;',
      '&#39;',
      '<',
      '>',
      '"',
      "'",
      '\t',
      '\n',
      'ü',
      '\u{1f600}',
    ]
    const part = fc.array(fc.constantFrom(...oddities), { minLength: 1, maxLength: 4 }).map(parts => parts.join(''))
    const uploads = fc.array(fc.tuple(fc.constantFrom('', 'p', 'p/', 'p/', 'q/'), part, fc.nat(9)), { maxLength: 20 })
    const server = fc.record({
      like: fc.constantFrom('aws', 'ceph', 'minio'),
      page: fc.integer({ min: 1, max: 4 }),
      written: fc.constantFrom(...escapes),
    }) as fc.Arbitrary<Server>
    const name = ({ key, id }: Upload) => `${JSON.stringify(key)} ${id}`
    await fc.assert(
      fc.asyncProperty(uploads, fc.constantFrom('p/', '', 'p', 'p/a'), server, async (begun, prefix, like) => {
        const all = [
          ...new Map(
            begun.map(([root, rest, id]) => [`${root}${rest} ${id}`, { key: root + rest, id: `2~${id}` }]),
          ).values(),
        ]
        answering(cloud, ({ url }) => [200, pageOf(all, like, url)])
        const found = await leftoversOf(cloud.store, prefix)
        // A server that takes the prefix for a key may tell of that key alone.
        const wanted = all.filter(({ key }) => key.startsWith(prefix))
        assert.deepEqual(found.map(name).sort(), wanted.map(name).sort())
        for (const { asOf, started, what } of found)
          assert.deepEqual([asOf?.toUTCString(), started.toISOString(), what], [DATE, INITIATED, 'unfinished upload'])
      }),
      { numRuns: 150 },
    )
  })

  it('are listed in few requests below a prefix, however many a bucket has elsewhere', async () => {
    const cloud = await cloudOf('s3')
    const all = Array.from({ length: 5_000 }, (_, i) => ({ key: `${i % 2 ? 'a' : 'z'}/${i}`, id: 'i' }))
    answering(cloud, ({ url }) => [200, pageOf(all, { like: 'aws', page: 1000, written: c => c }, url)])
    assert.deepEqual(await leftoversOf(cloud.store, 'pacs/'), [])
    assert.equal(cloud.seen.length, 2)
  })

  const listing = (inside: string) => `<ListMultipartUploadsResult>${inside}</ListMultipartUploadsResult>`
  const error = (code: string) => `<Error><Code>${code}</Code><Message>words</Message></Error>`
  const upload = (key: string, id: string) => `<Upload><Key>${key}</Key><UploadId>${id}</UploadId></Upload>`
  const refusals: readonly (readonly [string, Answer, object])[] = [
    [
      'is not implemented',
      [501, error('NotImplemented')],
      { code: 'Internal', remedy: /does not tell of unfinished uploads/ },
    ],
    [
      'is forbidden',
      [403, error('AccessDenied')],
      { code: 'Denied', remedy: /s3:ListBucketMultipartUploads on bucket/ },
    ],
    ['misses its bucket', [404, error('NoSuchBucket')], { code: 'BadConfig' }],
    [
      'is taken for a listing of objects',
      [200, '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'],
      { code: 'Unavailable' },
    ],
    ['is cut off', [200, listing('<IsTruncated>false</IsTruncated>').slice(0, -9)], { code: 'Unavailable' }],
    ['does not say whether it goes on', [200, listing(upload('k', 'i'))], { code: 'Unavailable' }],
    ['goes on without a marker', [200, listing('<IsTruncated>true</IsTruncated>')], { code: 'Internal' }],
    [
      'has an upload without an id',
      [200, listing(`<IsTruncated>false</IsTruncated>${upload('k', '')}`)],
      { code: 'Unavailable' },
    ],
    [
      'has an upload without a key',
      [200, listing(`<IsTruncated>false</IsTruncated>${upload('', 'i')}`)],
      { code: 'Unavailable' },
    ],
    ['is a page of somebody else', [200, '<html><title>Login</title></html>'], { code: 'Unavailable' }],
  ]
  for (const [what, answer, { code, remedy = /(?:)/ }] of refusals as readonly (readonly [
    string,
    Answer,
    { code: string; remedy?: RegExp },
  ])[])
    it(`are not known when the listing ${what}`, async () => {
      const cloud = await cloudOf('s3')
      answering(cloud, () => answer)
      await assert.rejects(leftoversOf(withLog(() => {})(cloud.store), 'pacs/'), (fault: unknown) => {
        assert.ok(fault instanceof Fault)
        assert.equal(fault.code, code)
        assert.match(fault.remedy, remedy)
        assert.match(fault.describe(), /^cannot look for leftovers below 'pacs\/' on s3:bucket: /)
        return true
      })
    })

  for (const circle of [1, 2, 3, 7])
    it(`are not listed for ever when the pages come again after ${circle}`, async () => {
      const cloud = await cloudOf('s3')
      let pages = 0
      answering(cloud, () => {
        const next = `<NextKeyMarker>p/${pages++ % circle}</NextKeyMarker><NextUploadIdMarker>i</NextUploadIdMarker>`
        return [200, listing(`<IsTruncated>true</IsTruncated>${next}${upload('p/k', 'i')}`)]
      })
      await assert.rejects(leftoversOf(cloud.store, 'p/'), { code: 'Internal' })
      assert.ok(pages <= 4 * circle, `${pages} pages`)
    })

  const one: Leftover = { key: 'p/k', id: 'id 1', what: 'unfinished upload', started: new Date() }
  const left = listing(`<IsTruncated>false</IsTruncated>${upload('p/k', 'id 1')}`)
  const other = listing(`<IsTruncated>false</IsTruncated>${upload('p/k', 'id 2')}`)

  it('are abandoned by their id, and one that is gone is a success', async () => {
    for (const answer of [
      [204, ''],
      [404, error('NoSuchUpload')],
    ] as const) {
      const cloud = await cloudOf('s3')
      answering(cloud, ({ method }) => (method === 'DELETE' ? answer : [200, other]))
      await cloud.store.removeLeftover(one, never)
      assert.equal(cloud.seen[0]?.line, 'DELETE /bucket/p/k?uploadId=id%201')
    }
  })

  it('are not gone because an answer says so that proves nothing', async () => {
    const unmarked = { 'x-amz-request-id': [], 'x-guploader-uploadid': [] }
    const cases: readonly (readonly [Answer, Answer, string])[] = [
      [[404, error('NoSuchUpload')], [404, error('NoSuchBucket')], 'BadConfig'],
      [[404, error('NoSuchUpload')], [200, left], 'Unavailable'],
      [[404, error('NoSuchUpload')], [403, error('AccessDenied')], 'Denied'],
      [[204, '', unmarked], [200, left], 'Unavailable'],
      [[404, error('NoSuchBucket')], [200, other], 'BadConfig'],
      [[404, '<html>not here</html>', unmarked], [200, other], 'Unavailable'],
    ]
    for (const [removal, look, code] of cases) {
      const cloud = await cloudOf('s3')
      answering(cloud, ({ method }) => (method === 'DELETE' ? removal : look))
      await assert.rejects(cloud.store.removeLeftover(one, never), { code })
    }
  })

  it('name the permission that their removal needs', async () => {
    const cloud = await cloudOf('s3')
    answering(cloud, () => [403, error('AccessDenied')])
    await assert.rejects(cloud.store.removeLeftover(one, never), { code: 'Denied', remedy: /s3:AbortMultipartUpload/ })
  })

  it('are not abandoned where a request could mean the object, or another one', async () => {
    const cloud = await cloudOf('s3')
    for (const wrong of [{ id: '' }, { key: 'p/a\x01' }, { key: 'p/a\ufffd' }, { key: 'p/../k' }])
      await assert.rejects(cloud.store.removeLeftover({ ...one, ...wrong }, never), { code: 'BadRequest' })
    assert.deepEqual(cloud.seen, [])
  })
})

describe('unfinished uploads on Azure', () => {
  const blob = (name: string, properties: string) =>
    `<Blob><Name>${name}</Name><Properties>${properties}</Properties></Blob>`
  const page = (blobs: string, next = '') =>
    `<EnumerationResults><Blobs>${blobs}</Blobs><NextMarker>${next}</NextMarker></EnumerationResults>`
  const committed =
    '<Last-Modified>Sun, 01 Mar 2026 00:00:00 GMT</Last-Modified><Etag>0x1</Etag><Content-Length>0</Content-Length><Content-Type>application/octet-stream</Content-Type>'

  it('are blobs without properties that no other verb finds', async () => {
    const cloud = await cloudOf('azure')
    await cloud.store.put('p/ended', sourceOf(Buffer.from('x')), never)
    const pages = [
      page(
        blob('p/a', committed) + blob('p/b', '<Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType>'),
        '2',
      ),
      page(
        blob('p/ended', '<Content-Length>0</Content-Length>') +
          blob(
            'p/d &amp; e',
            '<Creation-Time>Sun, 01 Mar 2026 00:00:00 GMT</Creation-Time><Content-Length>0</Content-Length>',
          ),
      ),
    ]
    answering(cloud, ({ url }) =>
      url.searchParams.get('include') === 'uncommittedblobs'
        ? [200, pages[url.searchParams.has('marker') ? 1 : 0] ?? '']
        : undefined,
    )
    const found = await leftoversOf(cloud.store, 'p/')
    assert.deepEqual(
      found.map(({ key, started }) => [key, started.getTime()]),
      [
        ['p/b', Number.NaN],
        ['p/d & e', Date.parse('2026-03-01')],
      ],
    )
    for (const leftover of found)
      await assert.rejects(cloud.store.removeLeftover(leftover, never), { code: 'BadRequest', remedy: /a week/ })
  })

  it('are not listed for ever', async () => {
    const cloud = await cloudOf('azure')
    answering(cloud, () => [200, page('', 'again')])
    await assert.rejects(leftoversOf(cloud.store, 'p/'), { code: 'Internal' })
  })
})

describe('temporary files of a directory', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-leftovers-'))
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('are ours by their name, or are left alone', async () => {
    const store = directoryStore(folder)
    await store.put('ab/object', sourceOf(Buffer.from('x')), never)
    const ours = ['.one.dcm.abc123.tmp', 'ab/.object.k2j1.tmp', 'cd/ef/.two.0.abc.tmp']
    const strangers = [
      ...['.tmp', '.x.tmp', 'x.abc.tmp', '.one.ABC.tmp', '.one.a-b.tmp', '.one.abc.tmp~', '.one.dcm.x7Yz', '..abc.tmp'],
      ...['.one.abcdefghijklmnop.tmp', 'ab/.one.abc.tmpx', '..x.tmp.abc.tmp'],
    ]
    mkdirSync(join(folder, 'cd/ef'), { recursive: true })
    for (const name of [...ours, ...strangers]) writeFileSync(join(folder, name), 'bytes')
    mkdirSync(join(folder, '.folder.abc.tmp'))
    writeFileSync(join(folder, '.folder.abc.tmp', '.inside.abc.tmp'), 'bytes')
    symlinkSync(join(folder, 'ab/object'), join(folder, '.link.abc.tmp'))
    const before = readdirSync(folder).sort()

    const found = await leftoversOf(store, '')
    const described = found.map(({ key, id, what, size }) => [key, id, what, size])
    assert.deepEqual(described, [
      ['ab/object', '.object.k2j1.tmp', 'temporary file', 5],
      ['cd/ef/two.0', '.two.0.abc.tmp', 'temporary file', 5],
      ['one.dcm', '.one.dcm.abc123.tmp', 'temporary file', 5],
    ])
    for (const leftover of found) await store.removeLeftover(leftover, never)
    assert.deepEqual(await leftoversOf(store, ''), [])
    assert.equal((await store.stat('ab/object', never))?.size, 1)
    const gone = ['.one.dcm.abc123.tmp', 'cd'] // with the folders that became empty
    assert.deepEqual(
      readdirSync(folder).sort(),
      before.filter(name => !gone.includes(name)),
    )
  })

  it('are removed only as what they are', async () => {
    const store = directoryStore(folder)
    const started = new Date()
    for (const [key, id] of [
      ['ab/object', 'object'],
      ['one', '.one.ABC.tmp'],
      ['one', '.two.abc.tmp'],
      ['x', '../.x.abc.tmp'],
      ['link', '.link.abc.tmp/..'],
    ] as const)
      await assert.rejects(store.removeLeftover({ key, id, what: 'temporary file', started }, never), {
        code: 'BadRequest',
      })
  })

  it('are not gone when the folder is', async () => {
    const away = join(folder, 'away')
    const store = directoryStore(away)
    await store.put('object', sourceOf(Buffer.from('x')), never)
    writeFileSync(join(away, '.one.abc.tmp'), 'bytes')
    const [leftover] = await leftoversOf(store, '')
    assert.ok(leftover)
    rmSync(away, { recursive: true })
    mkdirSync(away)
    await assert.rejects(store.removeLeftover(leftover, never), { code: 'Unavailable' })
    await assert.rejects(leftoversOf(store, ''), { code: 'Unavailable' })
  })
})
