/** One target, in a process of its own: run.ts reports what crashes or hangs here, with the seed that did it. */
import { randomInt } from 'node:crypto'
import { claimsOf, type Finding, type Round, replay, round } from './targets.ts'

/** What run.ts wants of a session. */
export interface Order {
  readonly target: string
  /** For all claims together. */
  readonly ms: number
  readonly claim?: string | undefined
  /** One round with this seed, instead of many with free ones. */
  readonly seed?: number | undefined
  readonly path?: string | undefined
}

/** What a session reports: which round begins, and what became of a claim. */
export type News =
  | { readonly kind: 'round'; readonly claim: string; readonly seed: number }
  | {
      readonly kind: 'claim'
      readonly claim: string
      readonly inputs: number
      readonly seconds: number
      readonly finding: Finding | undefined
    }
  | { readonly kind: 'end' }

if (process.send) process.once('message', order => void work(order as Order))

async function work({ target, ms, claim: only, seed, path }: Order): Promise<void> {
  const all = Object.entries(await claimsOf(target))
  const claims = all.filter(([name]) => only === undefined || name === only)
  if (claims.length === 0)
    throw new Error(`${target} has no such claim; it has: ${all.map(([name]) => name).join('; ')}`)
  for (const [name, claim] of claims) {
    const begin = performance.now()
    const end = begin + ms / claims.length
    let inputs = 0
    let { finding }: Partial<Round> = seed === undefined ? await replay(target, name, claim) : {}
    // Rounds are short, so that what they leave in memory is let go of.
    do {
      if (finding) break
      const free = seed ?? randomInt(2 ** 31)
      await tell({ kind: 'round', claim: name, seed: free })
      const done = await round(claim, free, path)
      inputs += done.inputs
      finding = done.finding
    } while (seed === undefined && performance.now() < end)
    await tell({ kind: 'claim', claim: name, inputs, seconds: (performance.now() - begin) / 1000, finding })
  }
  await tell({ kind: 'end' })
  process.disconnect()
}

/** Values of inputs may be of any kind: structured clones carry them as they are. */
function tell(news: News): Promise<void> {
  return new Promise(resolve => process.send?.(news, undefined, undefined, () => resolve()))
}
