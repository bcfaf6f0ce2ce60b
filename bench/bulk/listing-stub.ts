/**
 * A stub that lists as many objects as it is told, in S3's words, and has none: each page is made when it is asked for.
 * The file number `i` has the UUID that `uuidOf(i)` gives. Argument: how many. Run as its own process; prints its port.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sizeOf, uuidOf } from './made-up.ts'

const [count = 0] = process.argv.slice(2).map(Number)
const PAGE = 1000

const server = createServer((request, response) => {
  request.resume()
  response.setHeader('x-amz-request-id', 'stub') // a mark that all S3 servers give
  const { searchParams } = new URL(request.url ?? '', 'http://stub')
  if (searchParams.has('uploads'))
    return response.end(
      '<ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>',
    )
  if (!searchParams.has('list-type')) return response.writeHead(404).end('<Error><Code>NoSuchKey</Code></Error>')
  const from = Number(searchParams.get('continuation-token') ?? 0)
  const to = Math.min(from + Number(searchParams.get('max-keys') ?? PAGE), count)
  let page = ''
  for (let i = from; i < to; i++)
    page +=
      `<Contents><Key>${uuidOf(i, count)}.dcm</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>` +
      `<ETag>&quot;${'0'.repeat(32)}&quot;</ETag><Size>${sizeOf(i)}</Size><StorageClass>STANDARD</StorageClass></Contents>`
  const next = to < count ? `<NextContinuationToken>${to}</NextContinuationToken>` : ''
  response.end(
    '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix>' +
      `<KeyCount>${to - from}</KeyCount><MaxKeys>${PAGE}</MaxKeys><IsTruncated>${to < count}</IsTruncated>${next}${page}` +
      '</ListBucketResult>',
  )
}).listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
