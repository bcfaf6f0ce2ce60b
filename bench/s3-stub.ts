/**
 * A stub, not a server: it answers the few S3 requests of the benchmark from memory, and does not look at signatures.
 * It costs so little that what is measured is Orthanc, plugin and engine. Run as its own process; prints its port.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const objects = new Map<string, Buffer[]>()
const parts = new Map<string, Buffer[][]>()

const server = createServer((request, response) => {
  response.setHeader('x-amz-request-id', 'stub') // a mark that all S3 servers give
  const [key = '', query = ''] = (request.url ?? '').split('?')
  const part = /partNumber=(\d+)/.exec(query)?.[1]
  if (request.method === 'POST') {
    request.resume()
    if (query.startsWith('uploads'))
      response.end('<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>')
    else {
      objects.set(key, (parts.get(key) ?? []).flat())
      parts.delete(key)
      response.end('<CompleteMultipartUploadResult><ETag>"stub"</ETag></CompleteMultipartUploadResult>')
    }
    return
  }
  if (request.method === 'PUT') {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (part === undefined) objects.set(key, chunks)
      else {
        // An array with the parts at their numbers, in which the missing ones are skipped.
        const uploaded = parts.get(key) ?? []
        uploaded[Number(part)] = chunks
        parts.set(key, uploaded)
      }
      response.writeHead(200, { 'content-length': 0, etag: '"stub"' }).end()
    })
    return
  }
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
      response.writeHead(200, { 'content-length': size })
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
