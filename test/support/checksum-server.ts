/**
 * A fake S3 server that keeps checksums as AWS and MinIO do, or fails at it in the ways that servers are known for. It
 * looks at no signature. Real servers: test/live/checksums.test.ts.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { digestOf } from '../../src/stores/digest.ts'
import { listen } from './undo.ts'

export interface Manners {
  /** `ignores`: stores what comes, whatever its checksum; `mute`: verifies, but does not tell it. */
  readonly crc?: 'verifies' | 'ignores' | 'mute'
  /** What it says of a body that comes before its checksum. */
  readonly trailer?: 'verifies' | 'stores the framing' | 'keeps the encoding' | 'refuses'
  readonly versions?: 'none' | 'kept' | 'may not be asked'
  /** Of uploads in parts: whether it says that it takes checksums of parts. */
  readonly parts?: boolean
}

export interface Asked {
  readonly method: string
  /** Of the object, or '' = of the bucket. */
  readonly key: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  /** As it came on the wire. */
  readonly body: Buffer
}

interface Kept {
  readonly bytes: Buffer
  readonly etag: string
  readonly crc32: string | undefined
  readonly encoding?: string | undefined
}

/** Called before a request is carried out. True = it has answered. */
export type Interfere = (asked: Asked, response: ServerResponse) => boolean

const crc32Of = (bytes: Buffer) => digestOf('crc32', bytes)
const hex = (bytes: Buffer) => createHash('md5').update(bytes).digest('hex')

/** The bytes and the trailer of a body in chunks. */
export function unframed(body: Buffer): { readonly bytes: Buffer; readonly trailer: string } {
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const end = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.toString('latin1', at, end), 16)
    if (size === 0) return { bytes: Buffer.concat(chunks), trailer: body.toString('latin1', end + 2) }
    chunks.push(body.subarray(end + 2, end + 2 + size))
    at = end + 2 + size + 2
  }
}

export async function checksumServer(manners: Manners = {}) {
  const { crc = 'verifies', trailer = 'verifies', versions = 'none', parts = true } = manners
  const asked: Asked[] = []
  const objects = new Map<string, Kept>()
  /** Versions that a removal has hidden, and those that were removed for good. */
  const hidden: string[] = []
  const uploads = new Map<string, { readonly crc: boolean; readonly parts: Kept[] }>()
  let begun = 0
  const state = { interfere: (() => false) as Interfere }

  const say = (response: ServerResponse, status: number, code: string): undefined => {
    response.writeHead(status).end(`<Error><Code>${code}</Code><Message>words</Message></Error>`)
  }

  /** What a body becomes, or undefined after a refusal. */
  function received({ headers, body }: Asked, response: ServerResponse): Kept | undefined {
    let bytes = body
    let sent = headers['x-amz-checksum-crc32'] as string | undefined
    let encoding: string | undefined
    if (headers['x-amz-trailer'] !== undefined) {
      if (trailer === 'refuses') return say(response, 501, 'NotImplemented')
      const parsed = unframed(body)
      sent = /^x-amz-checksum-crc32:(\S+)\r\n\r\n$/.exec(parsed.trailer)?.[1]
      if (trailer !== 'stores the framing') bytes = parsed.bytes
      if (trailer === 'keeps the encoding') encoding = headers['content-encoding']
    }
    if (headers['content-md5'] !== undefined && headers['content-md5'] !== digestOf('md5', bytes))
      return say(response, 400, 'BadDigest')
    const blind = crc === 'ignores' || bytes !== body ? false : headers['x-amz-trailer'] !== undefined
    if (crc !== 'ignores' && !blind && sent !== undefined && sent !== crc32Of(bytes))
      return say(response, 400, 'BadDigest')
    return { bytes, etag: `"${hex(bytes)}"`, crc32: crc === 'ignores' ? undefined : sent, encoding }
  }

  const told = (crc32: string | undefined) =>
    crc === 'verifies' && crc32 !== undefined ? { 'x-amz-checksum-crc32': crc32 } : {}

  function carryOut(one: Asked, response: ServerResponse): unknown {
    const { method, key, query, headers } = one
    response.setHeader('x-amz-request-id', 'R')
    const id = query.get('uploadId')
    if (query.has('versioning')) {
      if (versions === 'may not be asked') return say(response, 403, 'AccessDenied')
      const status = versions === 'kept' ? '<Status>Enabled</Status>' : ''
      return response.end(`<VersioningConfiguration xmlns="x">${status}</VersioningConfiguration>`)
    }
    if (query.has('uploads')) {
      const taken = parts && crc === 'verifies' && headers['x-amz-checksum-algorithm'] === 'CRC32'
      uploads.set(String(++begun), { crc: taken, parts: [] })
      const head = { 'x-amz-checksum-algorithm': 'CRC32', 'x-amz-checksum-type': 'FULL_OBJECT' }
      response.writeHead(200, taken ? head : {})
      const text = `<InitiateMultipartUploadResult><UploadId>${begun}</UploadId></InitiateMultipartUploadResult>`
      return response.end(text)
    }
    if (id !== null) return inUpload(one, id, response)
    if (method === 'PUT') {
      const kept = received(one, response)
      if (!kept) return
      objects.set(key, kept)
      const version = versions === 'none' ? {} : { 'x-amz-version-id': `v${asked.length}` }
      return response.writeHead(200, { etag: kept.etag, ...told(kept.crc32), ...version }).end()
    }
    if (method === 'DELETE') {
      if (objects.delete(key) && versions !== 'none' && !query.has('versionId')) hidden.push(key)
      return response.writeHead(204).end()
    }
    const object = objects.get(key)
    if (!object) return say(response, 404, 'NoSuchKey')
    const mode = headers['x-amz-checksum-mode'] === 'ENABLED' && headers.range === undefined
    const encoding = object.encoding === undefined ? {} : { 'content-encoding': object.encoding }
    const type = mode ? { 'x-amz-checksum-type': 'FULL_OBJECT' } : {}
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(headers.range ?? '') ?? []
    const bytes = from === undefined ? object.bytes : object.bytes.subarray(Number(from), Number(to) + 1)
    const range = { 'content-range': `bytes ${from}-${Number(from) + bytes.length - 1}/${object.bytes.length}` }
    response.writeHead(from === undefined ? 200 : 206, {
      etag: object.etag,
      'content-length': bytes.length,
      ...(mode ? told(object.crc32) : {}),
      ...type,
      ...encoding,
      ...(from === undefined ? {} : range),
    })
    response.end(method === 'HEAD' ? undefined : bytes)
  }

  function inUpload(one: Asked, id: string, response: ServerResponse): unknown {
    const upload = uploads.get(id)
    if (!upload) return say(response, 404, 'NoSuchUpload')
    if (one.method === 'PUT') {
      const kept = received(one, response)
      if (!kept) return
      upload.parts[Number(one.query.get('partNumber')) - 1] = kept
      return response.writeHead(200, { etag: kept.etag, ...(upload.crc ? told(kept.crc32) : {}) }).end()
    }
    uploads.delete(id)
    if (one.method === 'DELETE') return response.writeHead(204).end()
    const bytes = Buffer.concat(upload.parts.map(part => part.bytes))
    const sent = one.headers['x-amz-checksum-crc32'] as string | undefined
    if (upload.crc && sent !== undefined && sent !== crc32Of(bytes)) return say(response, 400, 'BadDigest')
    const all = Buffer.concat(upload.parts.map(part => Buffer.from(part.etag.slice(1, -1), 'hex')))
    const etag = `"${hex(all)}-${upload.parts.length}"`
    objects.set(one.key, { bytes, etag, crc32: upload.crc ? sent : undefined })
    const tag = upload.crc ? `<ChecksumCRC32>${sent}</ChecksumCRC32>` : ''
    response.end(`<CompleteMultipartUploadResult><ETag>${etag}</ETag>${tag}</CompleteMultipartUploadResult>`)
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk)
    } catch {
      return // the other parts of an upload that has failed are broken off
    }
    const url = new URL(request.url ?? '', 'http://x')
    const one: Asked = {
      method: request.method ?? '',
      key: decodeURIComponent(url.pathname.replace(/^\/bucket\/?/, '')),
      query: url.searchParams,
      headers: request.headers,
      body: Buffer.concat(chunks),
    }
    asked.push(one)
    if (!state.interfere(one, response)) carryOut(one, response)
  })
  const endpoint = `http://127.0.0.1:${await listen(server)}`
  return { endpoint, asked, objects, hidden, uploads, state }
}
