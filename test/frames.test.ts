import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import {
  decodeHeader,
  HEADER_BYTES,
  INLINE_BYTES,
  Kind,
  MAX_PAYLOAD,
  PROTOCOL,
  UUID_BYTES,
  Verb,
} from '../src/wire/frames.ts'
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

  it('are all here', () => assert.equal(lines.length, 49))
})

/** Each half is tested against itself with its own figures. If they differed, only a real Orthanc would show it. */
describe('the two halves', () => {
  const header = readFileSync(new URL('../plugin/wire.h', import.meta.url), 'utf8')

  it('have the same figures', () => {
    const figures = [...header.matchAll(/constexpr \w+ (k\w+) = (\d+)u?(?: << (\d+))?;/g)].map(
      ([, name, value, shift]) => [name, Number(value) * 2 ** Number(shift ?? 0)] as const,
    )
    assert.deepEqual(Object.fromEntries(figures), {
      kProtocol: PROTOCOL,
      kHeaderBytes: HEADER_BYTES,
      kMaxPayload: MAX_PAYLOAD,
      kUuidBytes: UUID_BYTES,
      kInlineBytes: INLINE_BYTES,
    })
  })

  for (const [name, ours] of Object.entries({ Kind, Verb }))
    it(`have the same numbers for each ${name}`, () => {
      const [, members = ''] = new RegExp(`enum class ${name} : uint8_t {([^}]*)}`).exec(header) ?? []
      const theirs = members.split(',').map((member, i) => [member.trim().replace(' = 1', ''), i + 1] as const)
      const names = Object.entries(ours).map(([key, number]) => [key.replace(/^./, c => c.toUpperCase()), number])
      assert.deepEqual(Object.fromEntries(names), Object.fromEntries(theirs))
    })
})
