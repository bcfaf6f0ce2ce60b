/** S3's ListMultipartUploads and AbortMultipartUpload, and what other servers make of them. */
import { Fault, isCode } from '../../fault.ts'
import type { Draft, HttpAnswer, LeftoverDialect } from '../http/dialect.ts'
import { notTheStores } from '../http/stranger.ts'
import { elementOf } from '../http/xml.ts'
import type { Leftover } from '../store.ts'
import { isMarkedByS3 } from './faults.ts'

/** Where a page begins: after this upload, or after all uploads of this key where `id` is ''. */
interface Marker {
  readonly key: string
  readonly id: string
}

interface Page {
  readonly uploads: readonly Leftover[]
  readonly next: Marker | undefined
}

/**
 * Keys come as they are, with their spaces, and with numbers for characters. They are not asked for with
 * `encoding-type`: Ceph encodes them then, but does not say so, and does not encode the marker.
 */
const SHAPE = { lists: ['Upload'], spaces: true }
/** Characters that servers replace by others, or that a parser reads as others. */
const UNCLEAR = /[\p{Cc}\ufffd-\uffff]/u

export function s3Leftovers(bucketPath: string, objectPath: (key: string) => string): LeftoverDialect {
  const listing = (prefix: string, from: Marker | undefined): Draft => ({
    method: 'GET',
    path: bucketPath,
    query: [
      ['uploads', ''],
      ...(prefix === '' ? [] : [['prefix', prefix] as const]),
      ...(from === undefined ? [] : [['key-marker', from.key] as const]),
      ...(from === undefined || from.id === '' ? [] : [['upload-id-marker', from.id] as const]),
    ],
  })

  return ({ remove, page }) => {
    /** `asked`: the prefix that the server gets. `isBehind`: whether no page after this marker has what is wanted. */
    async function* uploads(
      asked: string,
      signal: AbortSignal,
      start?: Marker,
      isBehind: (next: Marker) => boolean = () => false,
    ): AsyncIterable<Leftover> {
      const cameBefore = repetition()
      let from = start
      do {
        const { page: found, asOf } = await page(listing(asked, from), readPage, signal)
        for (const upload of found.uploads) yield { ...upload, asOf }
        from = found.next
        if (from && cameBefore(from))
          throw new Fault('Internal', 'the listing of uploads does not advance: a page of it came before')
      } while (from !== undefined && !isBehind(from))
    }

    /** Some servers, such as MinIO, take a prefix for a whole key. To them, an empty answer is no proof. */
    async function* leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover> {
      let asPrefix = prefix === ''
      for await (const upload of uploads(prefix, signal)) {
        if (!upload.key.startsWith(prefix)) continue
        asPrefix ||= upload.key !== prefix
        yield upload
      }
      if (asPrefix) return
      const isBehind = ({ key }: Marker) => !key.startsWith(prefix) && compareBytes(key, prefix) > 0
      for await (const upload of uploads('', signal, { key: prefix, id: '' }, isBehind))
        if (upload.key.startsWith(prefix) && upload.key !== prefix) yield upload
    }

    return {
      leftovers,
      async removeLeftover({ key, id }, signal) {
        // Without an id, this would be the request that removes the object.
        if (id === '' || UNCLEAR.test(key)) throw new Fault('BadRequest', 'a request cannot name this upload')
        try {
          const draft: Draft = { method: 'DELETE', path: objectPath(key), query: [['uploadId', id]] }
          if (isMarkedByS3(await remove(draft, signal))) return
        } catch (error) {
          if (!isCode(error, 'NotFound')) throw error
        }
        // An answer without a mark proves nothing. MinIO says "no such upload" of a bucket that is not there, too.
        for await (const upload of uploads(key, signal))
          if (upload.key === key && upload.id === id)
            throw new Fault('Unavailable', 'the server says that the upload is gone, but it is still there')
      },
    }
  }
}

interface Listing {
  readonly IsTruncated?: unknown
  readonly NextKeyMarker?: unknown
  readonly NextUploadIdMarker?: unknown
  readonly Upload?: readonly { readonly [name in 'Key' | 'UploadId' | 'Initiated']?: unknown }[]
}

function readPage(answer: HttpAnswer): Page {
  const listing = Object(elementOf(answer, 'ListMultipartUploadsResult', SHAPE)) as Listing
  const { IsTruncated: more, NextKeyMarker: nextKey, NextUploadIdMarker: nextId } = listing
  if (more !== 'true' && more !== 'false')
    throw notTheStores(answer, 'a listing of uploads that does not say whether it goes on')
  const uploads = (listing.Upload ?? []).map(({ Key: key, UploadId: id, Initiated }): Leftover => {
    if (typeof key !== 'string' || key === '') throw notTheStores(answer, 'an upload without a key')
    if (typeof id !== 'string' || id === '') throw notTheStores(answer, 'an upload without an id')
    const started = new Date(typeof Initiated === 'string' ? Initiated : Number.NaN)
    return { key, id, what: 'unfinished upload', started }
  })
  if (more === 'false') return { uploads, next: undefined }
  if (typeof nextKey !== 'string' || nextKey === '')
    throw new Fault('Internal', 'the listing of uploads goes on, but has no marker for the next page')
  return { uploads, next: { key: nextKey, id: typeof nextId === 'string' ? nextId : '' } }
}

/**
 * Whether a marker has come before. Servers differ in the order of uploads, so this does not depend on it. One marker
 * is remembered: that of page 1, 2, 4, 8 and so on. So every circle is found.
 */
function repetition(): (next: Marker) => boolean {
  let kept: Marker | undefined
  let lap = 1
  let left = 1
  return next => {
    if (next.key === kept?.key && next.id === kept.id) return true
    if (--left > 0) return false
    kept = next
    lap *= 2
    left = lap
    return false
  }
}

const compareBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
