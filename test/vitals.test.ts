/** The rule by which the soak recognises growth, and not what comes and goes. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { growth, VITALS } from './soak/vitals.ts'
import { chanceOf } from './support/chance.ts'

/** So many samples are taken of 20 000 operations. */
const COUNT = 200
const samples = (at: (part: number) => number) => Array.from({ length: COUNT }, (_, i) => at(i / COUNT))

describe('what a process takes of the machine', () => {
  for (const vital of VITALS) {
    const chance = chanceOf(1)
    it(`${vital}: warming up, and what comes and goes, is no growth`, () => {
      assert.equal(
        growth(
          vital,
          samples(part => 20 + 80 * Math.min(1, part * 8) + 2 * chance()),
        ),
        undefined,
      )
    })

    it(`${vital}: a leak is one, be it small`, () => {
      // 4 KB an operation of what lies about anyway, 0.5 KB of the heap; a descriptor or thread of 200 operations.
      const all = vital.startsWith('heap') ? 10 : /^(memory|buffers)/.test(vital) ? 80 : 100
      assert.match(
        growth(
          vital,
          samples(part => 20 + all * part),
        ) ?? '',
        new RegExp(`^${vital} grows: `),
      )
    })
  }

  it('too few samples prove nothing', () => assert.match(growth('threads of Orthanc', [1, 1, 1]) ?? '', /too few/))
})
