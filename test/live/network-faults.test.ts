/**
 * A real Orthanc on each real server, behind a bad network, with many different operations at once: each ends, with the
 * right bytes or a clear error. Afterwards the store has what Orthanc believes, and nothing else except what was
 * reported as failed. `npm test` has one mixture of kinds for each server: each kind and each server occurs. LONG=1 has
 * each kind by itself on each server. SEED=… is another run; KIND=… takes only kinds whose name matches that pattern.
 */
import { after, before, describe, it } from 'node:test'
import { LONG } from '../support/long.ts'
import { type FaultKind, kinds, mixed } from './support/network-kinds.ts'
import { Site } from './support/site.ts'
import { ways } from './support/ways.ts'

const SEED = Number(process.env['SEED'] ?? 13)
const OPERATIONS = Number(process.env['OPERATIONS'] ?? (LONG ? 200 : 24))
const SERVERS = 4

const variants = ['plain', 'encrypted, with a move in flight'] as const

interface Round {
  readonly kind: FaultKind
  readonly variant: (typeof variants)[number]
  /** Whether all exchanges fail for a while, instead of some of them all the time. */
  readonly outage: boolean
}

/** Each kind on each server, in one of four forms: each form is on one of the servers. */
function longRounds(server: number): readonly Round[] {
  const form = (i: number) => (i + server + SEED) % 4
  return kinds
    .filter(({ name }) => new RegExp(process.env['KIND'] ?? '').test(name))
    .map((kind, i) => ({ kind, variant: variants[form(i) % 2] ?? 'plain', outage: form(i) >= 2 }))
}

/** Each kind once: a share of them as a mixture on each server, in one variant. */
function shortRounds(server: number): readonly Round[] {
  const mine = kinds.filter((_, i) => (i + SEED) % SERVERS === server)
  return [{ kind: mixed(mine), variant: variants[(server + SEED) % 2] ?? 'plain', outage: false }]
}

describe('behind a bad network', { concurrency: SERVERS }, () => {
  for (const [server, [name, way]] of Object.entries(ways()).entries())
    describe(name, { concurrency: 1 }, () => {
      const rounds = LONG ? longRounds(server) : shortRounds(server)
      for (const variant of variants) {
        const tried = rounds.filter(round => round.variant === variant)
        if (tried.length === 0) continue
        describe(variant, { concurrency: 1 }, () => {
          const site = new Site(way, { sealed: variant !== 'plain', operations: OPERATIONS })
          before(() => site.open())
          after(() => site.close())
          for (const [i, { kind, outage }] of tried.entries())
            it(`${kind.name}: ${outage ? 'all the time for a while' : 'now and then'}`, () =>
              site.endure(kind, { outage, seed: SEED * 1000 + i * 10 + server }))
        })
      }
    })
})
