/**
 * Every claim of the fuzzer, for some inputs that are always the same. `npm run fuzz` takes as many as there is time
 * for.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { decode, encode, keptOf } from './fuzz/corpus.ts'
import { claimsOf, type Finding, replay, round, targets } from './fuzz/targets.ts'
import { fc } from './support/property.ts'

const SEED = Number(process.env['SEED'] ?? 1)

function nothingFound(finding: Finding | undefined): void {
  if (!finding) return
  const { seed, path, input, error } = finding
  assert.fail(`${fc.stringify(input)}\nseed ${seed}, path ${path}\n${error}`)
}

for (const target of targets) {
  const claims = await claimsOf(target)
  describe(`for all inputs: ${target}`, () => {
    for (const [name, claim] of Object.entries(claims))
      it(name, async () => {
        nothingFound((await replay(target, name, claim)).finding)
        nothingFound((await round(claim, SEED)).finding)
      })

    it('every input that is kept belongs to a claim', () => {
      for (const { claim } of keptOf(target)) assert.ok(claim in claims, claim)
    })
  })
}

describe('the fuzzer', () => {
  it('finds what does not hold, and tells the least input', async () => {
    const property = fc.property(fc.nat(), n => n < 1000)
    const { finding } = await round({ property, runs: 100 }, SEED)
    assert.deepEqual(finding?.input, [1000])
    const again = await round({ property, runs: 100 }, SEED, finding?.path)
    assert.deepEqual([again.inputs, again.finding?.input], [1, [1000]])
  })

  it('keeps inputs as they are', () => {
    const marks = fc.constantFrom('$bytes', '$undefined', '$fields', '__proto__', 'a')
    const odd = fc.oneof(fc.anything({ withBigInt: true }), fc.uint8Array(), fc.dictionary(marks, fc.anything()))
    fc.assert(
      fc.property(odd, value => {
        const text = JSON.stringify(encode(value))
        assert.deepEqual(JSON.stringify(encode(decode(JSON.parse(text)))), text)
      }),
    )
  })
})
