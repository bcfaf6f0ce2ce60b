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
server.requestTimeout = 0
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
// Between measurements: the objects of a whole benchmark do not fit into memory.
process.on('message', () => objects.clear())
process.on('disconnect', () => process.exit(0))
