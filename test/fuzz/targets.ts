/** Which targets there are, and how one claim of them is put to the test. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { inspect } from 'node:util'
import { fc } from '../support/property.ts'
import type { Claim, Claims } from './claim.ts'
import { examplesOf } from './corpus.ts'

/** The files of this folder that make claims. */
export const targets: readonly string[] = readdirSync(import.meta.dirname)
  .filter(name => name.endsWith('.ts'))
  .filter(name => readFileSync(join(import.meta.dirname, name), 'utf8').includes('\nexport const claims: Claims'))
  .map(name => name.slice(0, -3))
  .sort()

export async function claimsOf(target: string): Promise<Claims> {
  const module: { readonly claims?: Claims } = await import(join(import.meta.dirname, `${target}.ts`))
  if (!module.claims) throw new Error(`test/fuzz/${target}.ts exports no claims`)
  return module.claims
}

export interface Finding {
  readonly seed: number
  readonly path: string
  /** undefined: it did not end, so there is nothing to shrink. */
  readonly input: unknown
  readonly error: string
}

export interface Round {
  readonly inputs: number
  readonly finding: Finding | undefined
}

/** Longest time for one input, by far: what takes longer never ends. */
const ENDLESS_MS = 3 * 60_000

/** A claim over what the corpus has for it. */
export async function replay(target: string, name: string, claim: Claim): Promise<Round> {
  const examples = examplesOf(target, name)
  return await check(claim, { seed: 0, numRuns: examples.length, examples })
}

/** A claim over so many inputs as it wants. `path`: of a finding, the one input that it names. */
export async function round(claim: Claim, seed: number, path = ''): Promise<Round> {
  return await check(claim, { seed, numRuns: claim.runs, ...(path !== '' && { path }) })
}

async function check(claim: Claim, parameters: fc.Parameters<unknown> & { readonly seed: number }): Promise<Round> {
  const property = claim.property.isAsync() ? owned(claim.property) : claim.property
  const details = await fc.check(property, {
    ...parameters,
    timeout: ENDLESS_MS,
    interruptAfterTimeLimit: 4 * ENDLESS_MS, // of what never ends, a few attempts at a smaller input are enough
  })
  const { failed, counterexample, counterexamplePath, errorInstance, numRuns } = details
  if (!failed) return { inputs: numRuns, finding: undefined }
  const finding = { seed: parameters.seed, path: counterexamplePath ?? '', input: counterexample }
  return { inputs: numRuns, finding: { ...finding, error: inspect(errorInstance) } }
}

type Property = Claim['property']

/** Part of every claim: no error of it is without an owner. In the engine such an error ends the process. */
function owned(property: Property): Property {
  const watched: Property = Object.create(property)
  watched.run = async value => {
    const unowned: unknown[] = []
    const hear = (error: unknown) => void unowned.push(error)
    const events = ['unhandledRejection', 'uncaughtException'] as const
    for (const event of events) process.on(event, hear)
    try {
      const failure = await property.run(value)
      await turn() // Node reports them when it has nothing else to do
      if (failure || unowned.length === 0) return failure
      return { error: new Error('nobody owns this error', { cause: unowned[0] }), errorMessage: 'nobody owns an error' }
    } finally {
      for (const event of events) process.off(event, hear)
    }
  }
  return watched
}
