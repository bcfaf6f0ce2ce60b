/**
 * The least that each provider's server does, in memory, where no real one can be made to fail in the way a test wants:
 * every request can be answered by somebody else, or be carried out and its answer lost. Real servers are in test/live.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { azureStore } from '../../src/stores/azure/azure.ts'
import { digestOf } from '../../src/stores/digest.ts'
import { gcsStore } from '../../src/stores/gcs/gcs.ts'
import { type S3Options, s3Store } from '../../src/stores/s3/s3.ts'
import type { Store } from '../../src/stores/store.ts'
import { withChecksum } from '../../src/stores/wrappers/checksum.ts'
import { withRetry } from '../../src/stores/wrappers/retry.ts'
import { s3Options } from './s3-options.ts'

export interface Request {
  readonly method: string
  readonly url: URL
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  /** Such as `PUT /bucket/key?uploadId=1`. */
  readonly line: string
}

/** Called before and after a request is carried out. True = it has answered, or ended the connection. */
export type Meddle = (request: Request, response: ServerResponse, done: boolean) => boolean

export interface Cloud {
  readonly store: Store
  /** Scheme, host and port. */
  readonly endpoint: string
  readonly objects: Map<string, Buffer>
  readonly seen: Request[]
  meddle: Meddle
  close(): Promise<void>
}

type Handler = (request: Request, response: ServerResponse, cloud: Pick<Cloud, 'objects'>) => (() => void) | undefined

export type Provider = 's3' | 'azure' | 'gcs'
export const providers: readonly Provider[] = ['s3', 'azure', 'gcs']

export interface CloudOptions {
  readonly maxRetries?: number
  /** Parts of this many bytes; only S3 has the option. */
  readonly s3?: Partial<S3Options>
}

export async function startCloud(provider: Provider, { maxRetries = 3, s3 = {} }: CloudOptions = {}): Promise<Cloud> {
  const objects = new Map<string, Buffer>()
  const seen: Request[] = []
  const handle = handlers[provider]()
  const server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of incoming) chunks.push(chunk)
    } catch {
      return // the other parts of an upload that has failed are broken off
    }
    const { method = '', url = '', headers } = incoming
    const request = {
      method,
      url: new URL(url, 'http://x'),
      headers,
      body: Buffer.concat(chunks),
      line: `${method} ${url}`,
    }
    seen.push(request)
    if (cloud.meddle(request, response, false)) return
    const answer = handle(request, response, { objects })
    if (!cloud.meddle(request, response, true)) answer?.()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  server.unref() // the fuzzer uses one for all its inputs, and nobody says which is the last
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const store = openStore(provider, endpoint, { maxRetries, s3 })
  const cloud: Cloud = {
    store,
    endpoint,
    objects,
    seen,
    meddle: () => false,
    async close() {
      await store.close()
      server.closeAllConnections()
      server.close()
    },
  }
  return cloud
}

/** Another store that knows nothing of the server yet. */
export function openStore(provider: Provider, endpoint: string, { maxRetries = 3, s3 = {} }: CloudOptions = {}): Store {
  // What repeats below the wrapper pauses longer.
  const limits = {
    connectTimeoutMs: 5000,
    requestTimeoutMs: 60_000,
    maxConnections: 8,
    maxRetries: Math.min(maxRetries, 1),
  }
  const environment = { caFile: undefined, proxy: undefined, probeKey: 'probe' }
  const store = {
    s3: () =>
      s3Store(
        {
          ...s3Options,
          bucket: 'bucket',
          region: 'us-east-1',
          credentials: { accessKeyId: 'a', secretAccessKey: 's' },
          endpoint,
          ...limits,
          ...s3,
        },
        environment,
        () => {},
      ),
    azure: () =>
      azureStore(
        {
          account: 'acct',
          endpoint: `${endpoint}/acct`,
          container: 'images',
          credentials: { kind: 'key', account: 'acct', key: 'a2V5' },
          createContainer: false,
          accessTier: undefined,
          ...limits,
        },
        environment,
        { info: () => {}, warn: () => {} },
      ),
    gcs: () =>
      gcsStore(
        { bucket: 'images', endpoint, serviceAccountFile: undefined, storageClass: undefined, ...limits },
        environment,
        () => {},
      ),
  }[provider]()
  return withChecksum(withRetry({ maxRetries, firstDelayMs: 1 }, () => {})(store))
}

const md5 = (bytes: Uint8Array, encoding: 'hex' | 'base64') => createHash('md5').update(bytes).digest(encoding)

/** `bytes`, or the range of them that was asked for, with `headers`. */
function give(
  bytes: Buffer,
  { method, headers }: Request,
  response: ServerResponse,
  more: Record<string, string>,
): void {
  const [, from, to] = /bytes=(\d+)-(\d+)/.exec(String(headers.range ?? '')) ?? []
  const part = from === undefined ? bytes : bytes.subarray(Number(from), Number(to) + 1)
  const range = { 'content-range': `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}` }
  response.writeHead(from === undefined ? 200 : 206, {
    ...more,
    'last-modified': new Date().toUTCString(),
    'content-length': part.length,
    ...(from === undefined ? {} : range),
  })
  response.end(method === 'HEAD' ? undefined : part)
}

function listed(objects: ReadonlyMap<string, Buffer>, { searchParams }: URL): [string, Buffer][] {
  const prefix = searchParams.get('prefix') ?? ''
  return [...objects].filter(([name]) => name.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1))
}

const fromXml = (text: string) =>
  text.replace(
    /&(lt|gt|quot|apos|amp);/g,
    (_, name: string) => ({ lt: '<', gt: '>', quot: '"', apos: "'" })[name] ?? '&',
  )

/** Removes what the requests within a request name, and answers each of them as a part. */
function removeParts(
  { body }: Request,
  objects: Map<string, Buffer>,
  beforeKey: string,
  part: (there: boolean) => string,
  idOf = (id: string) => id,
): { readonly type: string; readonly text: string } {
  const requests = [...body.toString().matchAll(/Content-ID: (\S+)\r\n\r\nDELETE (\S+) HTTP\/1\.1\r\n/g)]
  const parts = requests.map(([, id = '', path = '']) => {
    const key = decodeURIComponent(new URL(path, 'http://x').pathname.replace(beforeKey, ''))
    return `--b\r\nContent-Type: application/http\r\nContent-ID: ${idOf(id)}\r\n\r\n${part(objects.delete(key))}\r\n`
  })
  return { type: 'multipart/mixed; boundary=b', text: `${parts.join('')}--b--\r\n` }
}

function s3(): Handler {
  const uploads = new Map<string, Buffer[]>()
  const etags = new Map<string, string>()
  let last = 0
  return ({ method, url, body, ...request }, response, { objects }) => {
    response.setHeader('x-amz-request-id', 'R')
    const key = url.pathname.replace('/bucket/', '')
    const fail = (status: number, code: string) => () =>
      response.writeHead(status).end(`<Error><Code>${code}</Code><Message>words</Message></Error>`)
    const id = url.searchParams.get('uploadId')
    if (url.searchParams.has('uploads')) {
      uploads.set(String(++last), [])
      const result = `<InitiateMultipartUploadResult><UploadId>${last}</UploadId></InitiateMultipartUploadResult>`
      return () => response.end(result)
    }
    if (id) {
      const upload = uploads.get(id)
      if (!upload) return fail(404, 'NoSuchUpload')
      if (method === 'PUT') {
        upload[Number(url.searchParams.get('partNumber')) - 1] = body
        return () => response.writeHead(200, { etag: `"${md5(body, 'hex')}"` }).end()
      }
      uploads.delete(id)
      if (method === 'DELETE') return () => response.writeHead(204).end()
      const all = Buffer.concat(upload.map(part => createHash('md5').update(part).digest()))
      objects.set(key, Buffer.concat(upload))
      etags.set(key, `"${md5(all, 'hex')}-${upload.length}"`)
      return () =>
        response.end(`<CompleteMultipartUploadResult><ETag>${etags.get(key)}</ETag></CompleteMultipartUploadResult>`)
    }
    if (method === 'PUT') {
      if (request.headers['content-md5'] !== md5(body, 'base64')) return fail(400, 'BadDigest')
      objects.set(key, body)
      etags.set(key, `"${md5(body, 'hex')}"`)
      return () => response.writeHead(200, { etag: String(etags.get(key)) }).end()
    }
    if (method === 'DELETE') {
      objects.delete(key)
      return () => response.writeHead(204).end()
    }
    if (url.searchParams.has('delete')) {
      if (request.headers['content-md5'] !== md5(body, 'base64')) return fail(400, 'InvalidDigest')
      const keys = [...body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, name = '']) => name)
      for (const name of keys) objects.delete(fromXml(name))
      const deleted = keys.map(name => `<Deleted><Key>${name}</Key></Deleted>`).join('')
      return () => response.end(`<?xml version="1.0"?><DeleteResult>${deleted}</DeleteResult>`)
    }
    if (url.searchParams.has('list-type'))
      return () => {
        const all = listed(objects, url).map(
          ([name, { length }]) =>
            `<Contents><Key>${name}</Key><Size>${length}</Size><LastModified>${new Date().toISOString()}</LastModified></Contents>`,
        )
        response.end(`<ListBucketResult><IsTruncated>false</IsTruncated>${all.join('')}</ListBucketResult>`)
      }
    const bytes = objects.get(key)
    if (!bytes) return method === 'HEAD' ? () => response.writeHead(404).end() : fail(404, 'NoSuchKey')
    const etag = String(etags.get(key))
    return () => give(bytes, { method, url, body, ...request }, response, { etag })
  }
}

function azure(): Handler {
  const blocks = new Map<string, Buffer>()
  const digests = new Map<string, string>()
  return (request, response, { objects }) => {
    const { method, url, headers, body } = request
    response.setHeader('x-ms-request-id', 'R')
    const key = url.pathname.replace('/acct/images/', '')
    const comp = url.searchParams.get('comp')
    if (comp === 'batch') {
      const absent = '<Error><Code>BlobNotFound</Code></Error>'
      const part = (there: boolean) =>
        there
          ? 'HTTP/1.1 202 Accepted\r\nx-ms-request-id: R\r\n\r\n'
          : `HTTP/1.1 404 Absent\r\nx-ms-error-code: BlobNotFound\r\n\r\n${absent}`
      const { type, text } = removeParts(request, objects, '/acct/images/', part)
      return () => response.writeHead(202, { 'content-type': type }).end(text)
    }
    const fail = (status: number, code: string) => () => response.writeHead(status, { 'x-ms-error-code': code }).end()
    if (comp === 'list')
      return () => {
        const all = listed(objects, url).map(
          ([name, { length }]) =>
            `<Blob><Name>${name}</Name><Properties><Content-Length>${length}</Content-Length><Last-Modified>${new Date().toUTCString()}</Last-Modified></Properties></Blob>`,
        )
        response.end(`<EnumerationResults><Blobs>${all.join('')}</Blobs><NextMarker /></EnumerationResults>`)
      }
    if (comp === 'block') {
      blocks.set(String(url.searchParams.get('blockid')), body)
      return () => response.writeHead(201, { 'content-md5': md5(body, 'base64') }).end()
    }
    if (comp === 'blocklist') {
      const ids = [...body.toString().matchAll(/<Latest>([^<]*)</g)].map(([, id]) => String(id))
      if (!ids.every(id => blocks.has(id))) return fail(400, 'InvalidBlockList')
      objects.set(key, Buffer.concat(ids.map(id => blocks.get(id) as Buffer)))
      for (const id of ids) blocks.delete(id)
      digests.set(key, String(headers['x-ms-blob-content-md5']))
      return () => response.writeHead(201, { etag: '"e"' }).end()
    }
    if (method === 'PUT') {
      objects.set(key, body)
      digests.set(key, md5(body, 'base64'))
      return () => response.writeHead(201, { etag: '"e"', 'content-md5': md5(body, 'base64') }).end()
    }
    const bytes = objects.get(key)
    if (!bytes) return fail(404, 'BlobNotFound')
    if (method === 'DELETE') {
      objects.delete(key)
      return () => response.writeHead(202).end()
    }
    const digest = String(digests.get(key))
    const name = headers.range === undefined ? 'content-md5' : 'x-ms-blob-content-md5'
    return () => give(bytes, request, response, { etag: '"e"', [name]: digest })
  }
}

function gcs(): Handler {
  const sessions = new Map<string, { key: string; parts: Buffer[] }>()
  let last = 0
  return (request, response, { objects }) => {
    const { method, url, headers, body } = request
    response.setHeader('x-guploader-uploadid', 'R')
    const json = (status: number, value: object) => () =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    const absent = () => json(404, { error: { code: 404, message: 'No such object: images/x' } })
    if (url.pathname.startsWith('/batch/')) {
      const absent = JSON.stringify({ error: { code: 404, message: 'No such object: images/x' } })
      const part = (there: boolean) =>
        there
          ? 'HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n'
          : `HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\n\r\n${absent}`
      const named = (given: string) => given.replace('<', '<response-')
      const { type, text } = removeParts(request, objects, '/storage/v1/b/images/o/', part, named)
      return () => response.writeHead(200, { 'content-type': type }).end(text)
    }
    const id = url.searchParams.get('upload_id')
    if (id) {
      const session = sessions.get(id)
      if (!session) return json(410, {})
      if (method === 'DELETE') {
        sessions.delete(id)
        return () => response.writeHead(499).end()
      }
      const [, end, total] = /-(\d+)\/(\d+)$/.exec(String(headers['content-range'])) ?? []
      session.parts.push(body)
      if (Number(end) + 1 < Number(total)) return () => response.writeHead(308, { range: `bytes=0-${end}` }).end()
      sessions.delete(id)
      const whole = Buffer.concat(session.parts)
      objects.set(session.key, whole)
      return json(200, { crc32c: digestOf('crc32c', whole) })
    }
    if (method === 'POST' && url.searchParams.get('uploadType') === 'resumable') {
      sessions.set(String(++last), { key: String(url.searchParams.get('name')), parts: [] })
      return () => response.writeHead(200, { location: `http://x/upload?upload_id=${last}` }).end('{}')
    }
    if (method === 'POST') {
      const at = body.indexOf('octet-stream\r\n\r\n') + 16
      const bytes = Buffer.from(body.subarray(at, body.lastIndexOf('\r\n--')))
      objects.set(/"name":"([^"]*)"/.exec(body.toString('latin1'))?.[1] ?? '', bytes)
      return json(200, { crc32c: digestOf('crc32c', bytes) })
    }
    if (!url.pathname.includes('/o/')) {
      const updated = new Date().toISOString()
      const items = listed(objects, url).map(([name, { length }]) => ({ name, size: String(length), updated }))
      return json(200, { kind: 'storage#objects', ...(items.length > 0 ? { items } : {}) })
    }
    const key = decodeURIComponent(url.pathname.split('/o/')[1] ?? '')
    const bytes = objects.get(key)
    if (!bytes) return absent()
    const crc32c = digestOf('crc32c', bytes)
    if (method === 'DELETE') {
      objects.delete(key)
      return () => response.writeHead(204).end()
    }
    if (url.searchParams.get('alt') === 'media')
      return () => give(bytes, request, response, { 'x-goog-hash': `crc32c=${crc32c}`, 'x-goog-generation': '1' })
    return json(200, { size: String(bytes.length), updated: new Date().toISOString(), crc32c })
  }
}

const handlers: Readonly<Record<Provider, () => Handler>> = { s3, azure, gcs }
