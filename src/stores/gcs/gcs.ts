import { randomBytes } from 'node:crypto'
import { Fault } from '../../fault.ts'
import { otherBytes } from '../http/answer.ts'
import {
  type Dialect,
  type Draft,
  encode,
  encodeKey,
  type Headers,
  type HttpAnswer,
  type HttpRefusal,
  type Part,
  partHeaders,
} from '../http/dialect.ts'
import { md5FromBase64, nextFrom, statFrom } from '../http/entry.ts'
import { type ConnectionOptions, type Environment, httpOptions } from '../http/options.ts'
import { httpStore } from '../http/store.ts'
import { notTheStores } from '../http/stranger.ts'
import type { Stat, Store } from '../store.ts'
import { googleAuthorizer } from './auth.ts'
import { gcsBatch } from './batch.ts'
import { gcsCheck } from './check.ts'
import { gcsFault, isMarkedByGoogle, objectOf } from './faults.ts'

/** `GoogleCloudStorage` of docs/configuration.md, in base units. */
export interface GcsOptions extends ConnectionOptions {
  readonly bucket: string
  /** undefined = application default credentials. */
  readonly serviceAccountFile: string | undefined
  /** Scheme included; undefined = Google. */
  readonly endpoint: string | undefined
  readonly storageClass: string | undefined
}

const MIB = 1024 ** 2
const GOOGLE = 'https://storage.googleapis.com'

export function gcsStore(options: GcsOptions, environment: Environment, log: (line: string) => void): Store {
  const http = httpOptions(options, environment, new URL(options.endpoint ?? GOOGLE).origin, log)
  // A token must not be sent unencrypted: without a file, an http endpoint is an emulator, which needs none.
  const anonymous = options.serviceAccountFile === undefined && options.endpoint?.startsWith('http:')
  const authorize = anonymous
    ? async ({ headers = {} }: Draft) => ({ headers: { ...headers }, query: '' })
    : googleAuthorizer(options.serviceAccountFile, http.dispatcher, environment.warn ?? log)
  return httpStore({ ...gcsDialect(options, environment.probeKey), authorize }, http)
}

/** Long, because a dialect has many verbs. It is a table: each row can be read by itself. */
function gcsDialect(options: GcsOptions, probeKey: string): Omit<Dialect, 'authorize'> {
  const { bucket, storageClass } = options
  const url = new URL(options.endpoint ?? GOOGLE)
  const base = url.pathname.replace(/\/+$/, '')
  const bucketPath = `${base}/storage/v1/b/${encode(bucket)}`
  const objectPath = (key: string) => `${bucketPath}/o/${encodeKey(key, '%2F')}`
  const uploadPath = `${base}/upload/storage/v1/b/${encode(bucket)}/o`
  const media = ['alt', 'media'] as const
  const onWrite = { contentType: 'application/octet-stream', ...(storageClass === undefined ? {} : { storageClass }) }
  const { origin } = url
  const fault = (answer: HttpRefusal) => gcsFault(answer, options)

  return {
    name: `gcs:${bucket}`,
    origin,
    requestId: 'x-guploader-uploadid',
    digests: () => ['crc32c'],
    describedBy: 'crc32c',
    put: (key, digests) => ({
      method: 'POST',
      path: uploadPath,
      query: [
        ['uploadType', 'multipart'],
        ['name', key], // overrides the name in the metadata, which no checksum protects from a changed bit
        ['fields', 'crc32c'],
      ],
      ...related({ name: key, crc32c: digests.crc32c, ...onWrite }),
    }),
    marked: isMarkedByGoogle,
    // An empty answer is no acknowledgement either.
    acknowledges: (answer, digests) => {
      if (answer.text === '' && isMarkedByGoogle(answer.headers)) return 'other'
      const { crc32c } = objectOf<Metadata>(answer)
      if (crc32c === undefined) throw notTheStores(answer, 'no crc32c')
      return crc32c === digests.crc32c ? 'same' : 'other'
    },
    get: (key, range, generation) => ({
      method: 'GET',
      path: objectPath(key),
      query: [media, ...(generation === undefined ? [] : [['generation', generation] as const])],
      headers: partHeaders(range),
      wordless: [404], // from emulators; Google answers with a text, as both do to a request for metadata
    }),
    versionOf: headers => textOf(headers, 'x-goog-generation'),
    digestOf: (_key, headers) => {
      const decompressed = !['identity', undefined].includes(textOf(headers, 'x-goog-stored-content-encoding'))
      const value = decompressed ? undefined : /crc32c=([^,\s]+)/.exec(hashesOf(headers))?.[1]
      return value === undefined ? undefined : { name: 'crc32c', value }
    },
    stat: key => ({
      method: 'GET',
      path: objectPath(key),
      query: [['fields', 'size,updated,crc32c,md5Hash,storageClass']],
    }),
    statOf: (key, answer) => described(answer, key, objectOf<Metadata>(answer)),
    compare: (answer, crc) => {
      const { crc32c } = objectOf<Metadata>(answer)
      if (crc === undefined || crc32c === undefined) return 'unclear'
      return crc32c === crc ? 'same' : 'other'
    },
    remove: key => ({ method: 'DELETE', path: objectPath(key) }),
    batch: gcsBatch(base, objectPath, answer => fault({ ...answer, verb: 'remove', origin, inUpload: false })),
    list: (prefix, from) => ({
      method: 'GET',
      path: `${bucketPath}/o`,
      query: [
        ['prefix', prefix],
        ['fields', 'kind,items(name,size,updated,md5Hash,storageClass),nextPageToken'],
        ...(from === undefined ? [] : [['pageToken', from] as const]),
      ],
    }),
    page: answer => {
      const { kind, items = [], nextPageToken } = objectOf<Listing>(answer)
      if (!Array.isArray(items) || (kind !== 'storage#objects' && items.length === 0))
        throw notTheStores(answer, 'no listing')
      const objects = items.map(item => described(answer, Object(item).name, Object(item)))
      return { objects, next: nextFrom(nextPageToken, answer) }
    },
    check: gcsCheck(probeKey, bucket, bucketPath),

    // Google takes the parts of an upload one after the other, so they bring no speed (measured: one request is faster
    // at every size), but when the network breaks, only a part is sent again. Its way to send in parallel leaves
    // visible pieces behind when it fails, and its XML interface has no emulator to test against.
    parts: {
      largestPut: 64 * MIB,
      smallestPart: 1 * MIB, // a multiple of 256 KiB
      mostParts: Number.POSITIVE_INFINITY,
      usual: { concurrency: 4, partBytes: 16 * MIB },
      inOrder: true,
      begin: key => ({
        method: 'POST',
        path: uploadPath,
        query: [
          ['uploadType', 'resumable'],
          ['name', key],
        ],
        headers: { 'content-type': 'application/json; charset=UTF-8' },
        text: JSON.stringify(onWrite),
      }),
      begun: answer => {
        const location = textOf(answer?.headers ?? {}, 'location') ?? ''
        const id = URL.canParse(location) ? new URL(location).searchParams.get('upload_id') : undefined
        if (!id) throw answer ? notTheStores(answer, 'no upload_id') : new Fault('Internal', 'there was no answer')
        return { id, ofParts: [], ofWhole: ['crc32c'] }
      },
      part: (_key, id, { range, total, whole }) => ({
        method: 'PUT',
        path: uploadPath,
        query: session(id),
        headers: {
          'content-range': `bytes ${range.start}-${range.end - 1}/${total}`,
          ...(whole === undefined ? {} : { 'x-goog-hash': `crc32c=${whole.crc32c}` }),
        },
        alsoFine: 308,
        inUpload: true,
      }),
      receipt: (answer, part) => {
        const problem = arrived(answer, part)
        if (problem) throw problem
        return {}
      },
      finish: () => undefined,
      abandon: (_key, id) => ({ method: 'DELETE', path: uploadPath, query: session(id) }),
    },

    fault,
  }
}

/** Random, so that no file can contain it on purpose. */
const BOUNDARY = randomBytes(16).toString('hex')

const session = (id: string) => [['uploadType', 'resumable'] as const, ['upload_id', id] as const]

/** Metadata and content in one request (RFC 2387), so that class and checksum need no second one. */
function related(metadata: object): Pick<Draft, 'headers' | 'around'> {
  const before = [
    `--${BOUNDARY}`,
    'content-type: application/json; charset=UTF-8',
    '',
    JSON.stringify(metadata),
    `--${BOUNDARY}`,
    'content-type: application/octet-stream',
    '',
    '',
  ]
  return {
    headers: { 'content-type': `multipart/related; boundary=${BOUNDARY}` },
    around: { before: Buffer.from(before.join('\r\n')), after: Buffer.from(`\r\n--${BOUNDARY}--\r\n`) },
  }
}

/** After each part but the last Google says how far it has come; after the last it describes the object. */
function arrived(answer: HttpAnswer, { range, total, whole }: Part) {
  if (answer.status === 308) {
    const [, last] = /^bytes=0-(\d+)$/.exec(textOf(answer.headers, 'range') ?? '') ?? []
    if (Number(last) + 1 === range.end && range.end < total) return undefined
    // The part is sent again from its beginning. Google skips what it has; we no longer have the parts before.
    const words = `only the bytes up to ${last ?? 'none'} of a part up to ${range.end} arrived`
    return new Fault('Unavailable', words, { startOver: Number(last ?? -1) + 1 < range.start })
  }
  return whole !== undefined && answer.text !== '' && objectOf<Metadata>(answer).crc32c === whole.crc32c
    ? undefined
    : otherBytes()
}

type Metadata = { readonly [name in 'size' | 'updated' | 'crc32c' | 'md5Hash' | 'storageClass']?: unknown }

function described(answer: HttpAnswer, key: unknown, { size, updated, md5Hash, storageClass }: Metadata): Stat {
  return statFrom(answer, { key, size, modified: updated, md5: md5FromBase64(md5Hash), storageClass })
}

interface Listing {
  readonly kind?: unknown
  readonly items?: unknown
  readonly nextPageToken?: unknown
}

function textOf(headers: Headers, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}

/** Google sends one header for each kind of hash, or one for all. */
function hashesOf(headers: Headers): string {
  return [headers['x-goog-hash'] ?? ''].flat().join(',')
}
