import XMLBuilder from 'fast-xml-builder'
import { Fault } from '../../fault.ts'
import { otherBytes } from '../http/answer.ts'
import { probeObject } from '../http/check.ts'
import {
  type Dialect,
  type Draft,
  encodeKey,
  encodeQuery,
  type HttpAnswer,
  type HttpRefusal,
  partHeaders,
  type Transfer,
} from '../http/dialect.ts'
import { decodedKey, nextFrom, statFrom, statFromHead } from '../http/entry.ts'
import { Etags, learnFromOthers, strongTag } from '../http/etags.ts'
import { type ConnectionOptions, type Environment, httpOptions } from '../http/options.ts'
import { httpStore } from '../http/store.ts'
import { notTheStores, ownAnswer } from '../http/stranger.ts'
import { elementOf, xmlError } from '../http/xml.ts'
import type { Store } from '../store.ts'
import { type S3Signing, s3Signing } from './auth.ts'
import { s3Batch } from './batch.ts'
import { Checksums } from './checksums.ts'
import { isMarkedByS3, s3Fault } from './faults.ts'
import { s3Leftovers } from './leftovers.ts'
import { type S3Place, s3PlaceOf } from './place.ts'
import { isOfProof, proveChecksums } from './proof.ts'
import { type Credentials, EMPTY_PAYLOAD, sha256Hex, signer, UNSIGNED_PAYLOAD } from './sigv4.ts'

/** `AwsS3Storage` of docs/configuration.md, in base units. */
export interface S3Options extends ConnectionOptions, S3Place {
  /** undefined = AWS's default credential chain. */
  readonly credentials: Credentials | undefined
  readonly transfer: Transfer | undefined
  readonly storageClass: string | undefined
  readonly tags: Readonly<Record<string, string>>
  readonly logRequests: boolean
}

const GIB = 1024 ** 3
const MIB = 1024 ** 2

export function s3Store(options: S3Options, environment: Environment, log: (line: string) => void): Store {
  const http = httpOptions(options, environment, s3PlaceOf(options).origin, log)
  const warn = environment.warn ?? log
  const signing = s3Signing(options.credentials, { region: options.region, dispatcher: http.dispatcher, warn })
  const etags = new Etags()
  const checksums = new Checksums(isExposed(s3PlaceOf(options).origin), warn)
  const store = httpStore(s3Dialect(options, environment.probeKey, signing, { etags, checksums, log }), {
    ...http,
    transfer: options.transfer,
    logRequest: options.logRequests ? log : undefined,
  })
  const folder = environment.probeKey.slice(0, environment.probeKey.lastIndexOf('/') + 1)
  return {
    ...store,
    async get(key, range, signal) {
      if (etags.doubts(key)) await learnFromOthers(store, folder, key, signal).catch(() => {})
      return store.get(key, range, signal)
    },
  }
}

/** Whether requests can be changed on their way: neither encrypted, nor to this machine. */
function isExposed(origin: string): boolean {
  const { protocol, hostname } = new URL(origin)
  return protocol === 'http:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}

/** What is learnt of a server, for all requests to it. */
interface Learnt {
  readonly etags?: Etags
  readonly checksums?: Checksums
  readonly log?: (line: string) => void
}

const builder = new XMLBuilder({})

/** Long, because a dialect has many verbs. It is a table: each row can be read by itself. */
export function s3Dialect(
  options: S3Options,
  probeKey: string,
  signing: S3Signing,
  { etags = new Etags(), checksums = new Checksums(false), log = () => {} }: Learnt = {},
): Dialect {
  const { origin, host, base } = s3PlaceOf(options)
  const sign = signer(options.region)
  const objectPath = (key: string) => `${base}/${encodeKey(key)}`
  const bucketPath = base === '' ? '/' : base
  const onWrite: Record<string, string> = {}
  /** Whether a write that was acknowledged without a mark was read back and right: then this server gives no marks. */
  let marksNothing = false
  if (options.storageClass !== undefined) onWrite['x-amz-storage-class'] = options.storageClass
  if (Object.keys(options.tags).length > 0) onWrite['x-amz-tagging'] = encodeQuery(Object.entries(options.tags))

  const fault = (answer: HttpRefusal) => checksums.blamed(s3Fault(answer, options), answer)

  return {
    name: `s3:${options.bucket}`,
    origin,
    requestId: 'x-amz-request-id',
    // Reads that bring no CRC-32 are compared with ETags: the first writes show whether these are MD5s.
    digests: () => (checksums.proven && etags.curious ? [...checksums.names(), 'md5'] : checksums.names()),
    describedBy: 'md5',
    put: (key, digests) => ({
      method: 'PUT',
      path: objectPath(key),
      headers: { ...onWrite, ...checksums.onWrite(digests) },
    }),
    putInOnePass: (key, body, size) => {
      const once = checksums.trailed(body, size)
      return (
        once && { ...once, draft: { method: 'PUT', path: objectPath(key), headers: { ...onWrite, ...once.headers } } }
      )
    },
    marked: isMarkedByS3,
    acknowledges: (answer, { md5 = '', crc32 }) => {
      const { headers } = withEtag(answer)
      if (crc32 !== undefined) {
        if (md5 !== '') etags.compare(headers, md5)
        return checksums.compare(headers, crc32)
      }
      const verdict = etags.compare(headers, md5)
      // Where ETags are no MD5s, we must trust that the server verified Content-MD5, if the answer is the server's.
      const own = isMarkedByS3(headers) || marksNothing
      return verdict === 'unclear' && !etags.surprises(headers) && own ? 'same' : verdict
    },
    provenRight: (headers, { crc32 }, found) => {
      if (crc32 !== undefined) {
        const words = 'a write was acknowledged without it'
        checksums.giveUp(words)
        if (!found) throw new Fault('Unavailable', words) // the next try is made with MD5
        return
      }
      if (!found || found.tag === headers['etag']) etags.learnOther(headers)
      marksNothing ||= !isMarkedByS3(headers)
    },
    get: (key, range, etag) => ({
      method: 'GET',
      path: objectPath(key),
      headers: { ...partHeaders(range, etag), ...checksums.onRead(range) },
    }),
    versionOf: strongTag,
    digestOf: (key, headers) => checksums.digestOf(headers) ?? etags.digestOf(key, headers),
    stat: key => ({ method: 'HEAD', path: objectPath(key), wordless: [301, 307, 400, 401, 403, 404] }),
    statOf: (key, answer) =>
      statFromHead(key, own(answer), {
        md5: etags.md5Of(answer.headers),
        storageClass: answer.headers['x-amz-storage-class'],
      }),
    compare: ({ headers }, md5, parts) => etags.compare(headers, md5, parts),
    remove: key => ({ method: 'DELETE', path: objectPath(key) }),
    batch: s3Batch(bucketPath, answer => fault({ ...answer, verb: 'remove', origin, inUpload: false })),
    list: (prefix, from) => ({
      method: 'GET',
      path: bucketPath,
      query: [
        ['list-type', '2'],
        ['encoding-type', 'url'], // keys may hold characters that XML cannot
        ['prefix', prefix],
        ...(from === undefined ? [] : [['continuation-token', from] as const]),
      ],
    }),
    page: answer => {
      const result = resultOf<Listing>(answer, 'ListBucketResult')
      const more = result.IsTruncated === 'true'
      if (!more && result.IsTruncated !== 'false')
        throw notTheStores(answer, 'a listing that does not say whether it goes on')
      const next = more ? nextFrom(result.NextContinuationToken, answer) : undefined
      if (more && !next) throw new Fault('Internal', 'the listing goes on, but has no token for the next page')
      const encoded = result.EncodingType === 'url'
      const objects = (result.Contents ?? []).map(({ Key, Size, LastModified, ETag, StorageClass }) =>
        statFrom(answer, {
          key: encoded && typeof Key === 'string' ? decodedKey(Key.replaceAll('+', ' '), answer) : Key,
          size: Size,
          modified: LastModified,
          md5: etags.md5Of({ etag: String(ETag) }),
          storageClass: StorageClass,
        }),
      )
      return { objects, next }
    },
    leftovers: s3Leftovers(bucketPath, objectPath),
    // In a bucket with versions, the removal of an absent object would leave a delete marker. S3 looks at the condition
    // after the permission. Servers that do not know the condition ignore it.
    check: probeObject(probeKey, {
      harmless: remove => ({ ...remove, headers: { ...remove.headers, 'if-match': '*' } }),
      more: proveChecksums(checksums, { key: probeKey, bucketPath, log }),
      isOurs: isOfProof,
    }),

    parts: {
      largestPut: 5 * GIB,
      smallestPart: 5 * MIB,
      mostParts: 10_000,
      usual: { concurrency: 4, partBytes: 16 * MIB },
      inOrder: false,
      begin: key => ({
        method: 'POST',
        path: objectPath(key),
        query: [['uploads', '']],
        headers: { ...onWrite, ...checksums.onBegin() },
      }),
      begun: (answer, begin) => {
        const id = answer && resultOf<{ UploadId: unknown }>(answer, 'InitiateMultipartUploadResult').UploadId
        if (typeof id !== 'string' || id === '') throw new Fault('Internal', 'the answer has no UploadId')
        return { id, ...checksums.begun(answer?.headers, begin) }
      },
      part: (key, id, { number, digests }) => ({
        method: 'PUT',
        path: objectPath(key),
        query: [
          ['partNumber', String(number)],
          ['uploadId', id],
        ],
        headers: checksums.onWrite(digests),
        inUpload: true,
      }),
      receipt: (answer, { digests }) => {
        const { headers } = withEtag(answer)
        const { md5 = '', crc32 } = digests
        const verdict = crc32 === undefined ? etags.compare(headers, md5) : checksums.compare(headers, crc32)
        if (verdict === 'other') throw otherBytes()
        if (verdict === 'unclear' && crc32 !== undefined) {
          const words = 'a part was acknowledged without it'
          checksums.giveUp(words)
          throw new Fault('Unavailable', words, { startOver: true })
        }
        // The server only knows the strong form.
        return { ETag: String(headers['etag']).replace(/^W\//, ''), ...checksums.receipt(digests) }
      },
      finish: (key, id, receipts, whole) => ({
        method: 'POST',
        path: objectPath(key),
        query: [['uploadId', id]],
        headers: checksums.onFinish(whole),
        inUpload: true,
        slow: true, // it may join thousands of parts
        text: builder.build({
          CompleteMultipartUpload: { Part: receipts.map((receipt, i) => ({ PartNumber: i + 1, ...receipt })) },
        }),
      }),
      // S3 sends the head of the answer before it is done: the body of a 200 may still be an error, or empty.
      finished: (answer, whole) => {
        if (xmlError(answer.text)) {
          const said = fault({ ...answer, verb: 'write', origin, inUpload: true })
          throw said.with({ doubtful: said.retryable })
        }
        const result = resultOf<{ ETag: unknown; ChecksumCRC32: unknown }>(answer, 'CompleteMultipartUploadResult')
        const { ETag: etag, ChecksumCRC32: crc32 } = result
        if (typeof etag !== 'string' || etag === '') throw notTheStores(answer, 'no ETag')
        if (whole?.crc32 !== undefined && crc32 !== undefined && crc32 !== whole.crc32) throw otherBytes()
      },
      abandon: (key, id) => ({ method: 'DELETE', path: objectPath(key), query: [['uploadId', id]] }),
    },

    async authorize(draft: Draft, _length: number, streamed: boolean, signal: AbortSignal) {
      // A body that streams is bound by its Content-MD5, which is signed, instead of by its SHA-256. Where it has none,
      // its headers say how it is bound.
      const { method, path, query = [], headers = {} } = draft
      const ofText = draft.text === undefined ? EMPTY_PAYLOAD : sha256Hex(draft.text)
      const payloadHash = headers['x-amz-content-sha256'] ?? (streamed ? UNSIGNED_PAYLOAD : ofText)
      const keys = await signing.keys(signal)
      const signed = sign({ method, host, path, query, headers, payloadHash }, keys, new Date(signing.now()))
      return { headers: signed, query: '', again: answer => signing.again(answer, keys) }
    },

    fault,
  }
}

function own(answer: HttpAnswer): HttpAnswer {
  return ownAnswer(answer, isMarkedByS3(answer.headers), 'no request id of S3')
}

/** S3 and compatible servers acknowledge bytes with an ETag. */
function withEtag(answer: HttpAnswer): HttpAnswer {
  if (typeof answer.headers['etag'] !== 'string' || answer.headers['etag'] === '') throw notTheStores(answer, 'no ETag')
  return own(answer)
}

interface Listing {
  readonly IsTruncated?: unknown
  readonly NextContinuationToken?: unknown
  readonly EncodingType?: unknown
  readonly Contents?: readonly {
    readonly [name in 'Key' | 'Size' | 'LastModified' | 'ETag' | 'StorageClass']?: unknown
  }[]
}

/** The root element that only the answer to this request has. */
function resultOf<T extends object>(answer: HttpAnswer, name: string): Partial<T> {
  const result = elementOf(answer, name, { lists: ['Contents'] })
  return typeof result === 'object' && result !== null ? result : {} // an empty element is a text
}
