/**
 * A stub, not a server: it answers the few S3 requests of the benchmark from memory, and does not look at signatures.
 * Of checksums it knows CRC-32, which it verifies in headers, and believes when they come after the bytes. It costs so
 * little that what is measured is Orthanc, plugin and engine. Run as its own process; prints its port.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { crc32 } from 'node:zlib'

const objects = new Map<string, Buffer[]>()
const parts = new Map<string, Buffer[][]>()
const CRC = 'x-amz-checksum-crc32'
const checksums = new Map<string, string>()

function crcOf(chunks: readonly Buffer[]): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(chunks.reduce((crc, chunk) => crc32(chunk, crc), 0))
  return bytes.toString('base64')
}

/** The bytes of a body in chunks of known sizes, without a copy, and the checksum behind them. */
function unframed(framed: readonly Buffer[]): { readonly chunks: Buffer[]; readonly crc: string } {
  const chunks: Buffer[] = []
  let [head, left] = ['', 0]
  for (let bytes of framed)
    while (bytes.length > 0) {
      if (left > 2) chunks.push(bytes.subarray(0, left - 2))
      const taken = Math.min(left, bytes.length)
      left -= taken
      bytes = bytes.subarray(taken)
      const end = left > 0 || head.startsWith('0\r\n') ? bytes.length : bytes.indexOf('\n') + 1 || bytes.length
      if (left > 0) continue
      head += bytes.toString('latin1', 0, end)
      bytes = bytes.subarray(end)
      const size = head.endsWith('\r\n') ? Number.parseInt(head, 16) : 0
      if (size === 0) continue
      left = size + 2 // and the end of its line
      head = ''
    }
  return { chunks, crc: /^0\r\n\S+:(\S+)/.exec(head)?.[1] ?? '' }
}

const server = createServer((request, response) => {
  response.setHeader('x-amz-request-id', 'stub') // a mark that all S3 servers give
  const [key = '', query = ''] = (request.url ?? '').split('?')
  const part = /partNumber=(\d+)/.exec(query)?.[1]
  if (request.method === 'POST' && query.startsWith('delete')) {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const keys = [
        ...Buffer.concat(chunks)
          .toString()
          .matchAll(/<Key>([^<]*)<\/Key>/g),
      ].map(([, name]) => name)
      for (const name of keys) objects.delete(`${key}/${name}`)
      const deleted = keys.map(name => `<Deleted><Key>${name}</Key></Deleted>`)
      response.end(`<DeleteResult>${deleted.join('')}</DeleteResult>`)
    })
    return
  }
  if (request.method === 'POST') {
    request.resume()
    if (query.startsWith('uploads')) {
      if (request.headers['x-amz-checksum-algorithm'] === 'CRC32')
        response.writeHead(200, { 'x-amz-checksum-algorithm': 'CRC32', 'x-amz-checksum-type': 'FULL_OBJECT' })
      response.end('<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>')
    } else {
      objects.set(key, (parts.get(key) ?? []).flat())
      checksums.set(key, String(request.headers[CRC] ?? ''))
      parts.delete(key)
      response.end('<CompleteMultipartUploadResult><ETag>"stub"</ETag></CompleteMultipartUploadResult>')
    }
    return
  }
  if (request.method === 'PUT') {
    const received: Buffer[] = []
    request.on('data', (chunk: Buffer) => received.push(chunk))
    request.on('end', () => {
      const sent = request.headers[CRC]
      const trailed = request.headers['x-amz-trailer'] === undefined ? undefined : unframed(received)
      const chunks = trailed?.chunks ?? received
      const crc = trailed?.crc ?? (typeof sent === 'string' ? crcOf(chunks) : undefined)
      if (sent !== undefined && sent !== crc)
        return response.writeHead(400).end('<Error><Code>BadDigest</Code></Error>')
      if (part === undefined) {
        objects.set(key, chunks)
        checksums.set(key, crc ?? '')
      } else {
        // An array with the parts at their numbers, in which the missing ones are skipped.
        const uploaded = parts.get(key) ?? []
        uploaded[Number(part)] = chunks
        parts.set(key, uploaded)
      }
      response.writeHead(200, { 'content-length': 0, etag: '"stub"', ...(crc && { [CRC]: crc }) }).end()
    })
    return
  }
  if (query === 'versioning=') return response.end('<VersioningConfiguration/>')
  const chunks = objects.get(key)
  if (request.method === 'DELETE') {
    objects.delete(key)
    response.writeHead(204).end()
  } else if (!chunks) {
    response.writeHead(404).end('<Error><Code>NoSuchKey</Code></Error>')
  } else {
    const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
    if (from === undefined) {
      const crc = request.headers['x-amz-checksum-mode'] ? checksums.get(key) : undefined
      response.writeHead(200, { 'content-length': size, ...(crc && { [CRC]: crc }) })
      for (const chunk of chunks) response.write(chunk)
      response.end()
    } else {
      const end = Math.min(Number(to) + 1, size)
      const length = end - Number(from)
      response.writeHead(206, { 'content-length': length, 'content-range': `bytes ${from}-${end - 1}/${size}` })
      let at = 0
      for (const chunk of chunks) {
        const first = Math.max(Number(from) - at, 0)
        const last = Math.min(end - at, chunk.byteLength)
        if (first < last) response.write(chunk.subarray(first, last))
        at += chunk.byteLength
      }
      response.end()
    }
  }
})

/** node s3-stub.ts MILLISECONDS: it answers as if it were that round trip away, on a network of any bandwidth. */
const roundTrip = Number(process.argv[2] ?? 0)
if (roundTrip > 0) {
  // Cheaper than a proxy: no byte is copied for it. A new connection takes a round trip of its own.
  const [answer] = server.listeners('request') as [(...exchange: unknown[]) => void]
  const known = new WeakSet<object>()
  server.removeListener('request', answer)
  server.on('request', (request, response) => {
    setTimeout(answer, known.has(request.socket) ? roundTrip : 2 * roundTrip, request, response)
    known.add(request.socket)
  })
}

server.requestTimeout = 0
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))

/** What was asked for, and how many bytes of answers went out, with their heads. */
const counts = { requests: 0, sentBytes: 0, underWay: 0 }
server.prependListener('request', ({ socket }, response) => {
  const before = socket.bytesWritten
  counts.requests++
  counts.underWay++
  response.once('close', () => {
    counts.sentBytes += socket.bytesWritten - before
    counts.underWay--
  })
})
process.on('message', message => {
  if (message === 'count') process.send?.({ ...counts, objects: objects.size })
  else objects.clear() // between measurements: the objects of a whole benchmark do not fit into memory
})
process.on('disconnect', () => process.exit(0))
