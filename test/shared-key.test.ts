import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { StorageSharedKeyCredential } from '@azure/storage-blob'
import { sharedKeySigner } from '../src/stores/azure/shared-key.ts'
import { encode, encodeQuery } from '../src/stores/http/dialect.ts'
import { fc } from './support/property.ts'

type Policy = ReturnType<StorageSharedKeyCredential['create']>
type Request = Parameters<Policy['sendRequest']>[0]

/** What Microsoft's own signer adds to a request: all its headers. */
async function official(
  credential: StorageSharedKeyCredential,
  method: string,
  url: string,
  headers: Record<string, string>,
): Promise<Map<string, string>> {
  const given = new Map(Object.entries(headers))
  const request = {
    method,
    url,
    headers: {
      get: (name: string) => given.get(name.toLowerCase()),
      set: (name: string, value: string | number) => void given.set(name.toLowerCase(), String(value)),
      headersArray: () => [...given].map(([name, value]) => ({ name, value })),
    },
  } as unknown as Request
  const end = { sendRequest: (sent: Request) => Promise.resolve({ request: sent, status: 200, headers: sent.headers }) }
  await credential.create(end as Parameters<typeof credential.create>[0], {} as never).sendRequest(request)
  return given
}

describe('Shared Key', () => {
  it("is what Microsoft's own signer makes, for any request", async () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/)
    const header = fc.constantFrom(
      'content-md5',
      'content-type',
      'if-match',
      'range',
      'x-ms-access-tier',
      'x-ms-blob-content-md5',
      'x-ms-blob-type',
      'x-ms-version',
      'x-ms-meta-a',
      'x-ms-meta-team',
    )
    const request = fc.record({
      method: fc.constantFrom('GET', 'PUT', 'HEAD', 'DELETE'),
      emulator: fc.boolean(),
      segments: fc.array(
        text.filter(t => !t.includes('/') && t !== '.' && t !== '..'),
        { minLength: 1, maxLength: 4 },
      ),
      // "+" would be a blank to Microsoft's signer; ours is never given one unencoded.
      query: fc.dictionary(fc.constantFrom('comp', 'blockid', 'restype', 'prefix', 'marker', 'maxresults'), text),
      headers: fc.dictionary(header, value),
      length: fc.nat(),
      account: fc.stringMatching(/^[a-z0-9]{3,24}$/),
      key: fc.uint8Array({ minLength: 1, maxLength: 64 }).map(bytes => Buffer.from(bytes).toString('base64')),
    })
    await fc.assert(
      fc.asyncProperty(request, async r => {
        const path = `${r.emulator ? `/${r.account}` : ''}/${r.segments.map(encode).join('/')}`
        const query = Object.entries(r.query)
        const url = `https://host.example${path}${query.length > 0 ? `?${encodeQuery(query)}` : ''}`
        const length: Record<string, string> = { 'content-length': String(r.length) }
        const credential = new StorageSharedKeyCredential(r.account, r.key)
        const theirs = await official(credential, r.method, url, { ...r.headers, ...length })
        const headers = { ...r.headers, 'x-ms-date': theirs.get('x-ms-date') ?? '' }
        const sign = sharedKeySigner({ account: r.account, key: r.key })
        assert.equal(sign({ method: r.method, path, query, headers, length: r.length }), theirs.get('authorization'))
      }),
      { numRuns: 1000 },
    )
  })
})
