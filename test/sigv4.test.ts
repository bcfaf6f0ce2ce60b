import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import { encode } from '../src/stores/http/dialect.ts'
import { EMPTY_PAYLOAD, signer, UNSIGNED_PAYLOAD } from '../src/stores/s3/sigv4.ts'
import { fc } from './support/property.ts'

describe('Signature Version 4', () => {
  it("is what AWS's own signer makes, for any request", async () => {
    // AWS's signer keeps a query in a plain object, which cannot hold a parameter of this name.
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter(t => t !== '__proto__')
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/)
    const headerValue = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/)
    const request = fc.record({
      method: fc.constantFrom('GET', 'PUT', 'HEAD', 'POST', 'DELETE'),
      host: fc.constantFrom('s3.eu-west-1.amazonaws.com', 'bucket.s3.fr-par.scw.cloud', '127.0.0.1:9000'),
      segments: fc.array(
        text.filter(t => !t.includes('/')),
        { minLength: 1, maxLength: 4 },
      ),
      query: fc.dictionary(text, fc.string({ unit: 'grapheme', maxLength: 20 }), { maxKeys: 4 }),
      headers: fc.dictionary(
        name.map(n => `x-amz-meta-${n}`),
        headerValue,
        { maxKeys: 3 },
      ),
      payloadHash: fc.constantFrom(UNSIGNED_PAYLOAD, EMPTY_PAYLOAD),
      region: fc.constantFrom('eu-west-1', 'us-east-1', 'fr-par'),
      accessKeyId: fc.stringMatching(/^[A-Z0-9]{4,20}$/),
      secretAccessKey: fc.string({ minLength: 1, maxLength: 40 }),
      sessionToken: fc.option(fc.stringMatching(/^[A-Za-z0-9+/=]{1,60}$/), { nil: undefined }),
      date: fc.date({ min: new Date('2000-01-01'), max: new Date('2099-12-31'), noInvalidDate: true }),
    })
    await fc.assert(
      fc.asyncProperty(request, async r => {
        const { accessKeyId, secretAccessKey, sessionToken } = r
        const path = `/${r.segments.map(encode).join('/')}`
        const credentials = { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) }
        const official = new SignatureV4({
          service: 's3',
          region: r.region,
          credentials,
          sha256: Sha256,
          uriEscapePath: false,
          applyChecksum: false,
        })
        const theirs = await official.sign(
          {
            method: r.method,
            protocol: 'https:',
            hostname: r.host,
            path,
            query: r.query,
            headers: { ...r.headers, host: r.host, 'x-amz-content-sha256': r.payloadHash },
          },
          { signingDate: r.date },
        )
        const ours = signer(r.region)(
          {
            method: r.method,
            host: r.host,
            path,
            query: Object.entries(r.query),
            headers: r.headers,
            payloadHash: r.payloadHash,
          },
          credentials,
          r.date,
        )
        assert.equal(ours['authorization'], theirs.headers['authorization'])
        assert.equal(ours['x-amz-date'], theirs.headers['x-amz-date'])
        assert.equal(ours['x-amz-security-token'], theirs.headers['x-amz-security-token'])
      }),
      { numRuns: 1000 },
    )
  })

  it("is that of AWS's published example (GET Object)", () => {
    const headers = signer('us-east-1')(
      {
        method: 'GET',
        host: 'examplebucket.s3.amazonaws.com',
        path: '/test.txt',
        query: [],
        headers: { range: 'bytes=0-9' },
        payloadHash: EMPTY_PAYLOAD,
      },
      { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' },
      new Date('2013-05-24T00:00:00Z'),
    )
    assert.match(
      headers['authorization'] ?? '',
      /Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41$/,
    )
  })

  it('takes a new day and a new secret into account', () => {
    const sign = signer('us-east-1')
    const request = { method: 'GET', host: 'h', path: '/', query: [], headers: {}, payloadHash: EMPTY_PAYLOAD }
    const keys = { accessKeyId: 'A', secretAccessKey: 'S' }
    const made = [
      sign(request, keys, new Date('2026-01-01T00:00:00Z')),
      sign(request, keys, new Date('2026-01-02T00:00:00Z')),
      sign(request, { ...keys, secretAccessKey: 'T' }, new Date('2026-01-02T00:00:00Z')),
    ].map(headers => headers['authorization'])
    assert.equal(new Set(made).size, 3)
  })
})
