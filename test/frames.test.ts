import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { decodeHeader, HEADER_BYTES } from '../src/wire/frames.ts'
import { encodeFrame } from './support/encode-frame.ts'

const lines = readFileSync(new URL('vectors/frames.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter(line => line !== '' && !line.startsWith('#'))

describe('frame vectors', () => {
  for (const line of lines) {
    const [verdict, name = '', ...rest] = line.split(' ')
    const [length, kind, flags, status] = rest.slice(0, 4).map(Number) as [number, number, number, number]
    const argument = Number(rest[4])
    const payload = Buffer.from(rest[5] === '-' ? '' : (rest[5] ?? ''), 'hex')
    const frame = Buffer.from(rest[6] ?? '', 'hex')
    if (verdict === 'good')
      it(`${name} is encoded and decoded`, () => {
        assert.deepEqual(encodeFrame(kind, { flags, status, argument }, payload), frame)
        assert.deepEqual(decodeHeader(frame), { length, kind, flags, status, argument })
        assert.deepEqual(frame.subarray(HEADER_BYTES), payload)
      })
    else it(`${name} is refused`, () => assert.throws(() => decodeHeader(frame), { code: 'Internal' }))
  }

  it('are all here', () => assert.equal(lines.length, 47))
})
