import type { Repaired } from '../repair/context.ts'
import type { Finding, Kind } from '../verify/finding.ts'

/** Of each kind, so many are shown to people. */
const MOST_SHOWN = 20
const DONE = { trash: 'moved to the trash', delete: 'deleted', fetch: 'fetched', discard: 'discarded' } as const
const PLANNED = {
  trash: 'would go to the trash',
  delete: 'would be deleted',
  fetch: 'would be fetched',
  discard: 'would be discarded',
} as const

/** What `verify --repair` has done, or would do. */
export class RepairCounts {
  settled = 0
  failures = 0
  readonly #shown: Repaired[] = []
  readonly #counts = new Map<Repaired['how'], number>()
  readonly #mended = new Map<Kind, number>()

  add(repaired: Repaired): void {
    const count = (this.#counts.get(repaired.how) ?? 0) + 1
    this.#counts.set(repaired.how, count)
    this.#mend(repaired.finding)
    if (count <= MOST_SHOWN) this.#shown.push(repaired)
  }

  settle(finding: Finding): void {
    this.settled++
    this.#mend(finding)
  }

  /** What is not wrong any more. More than was found, where leftovers have become old meanwhile. */
  mended(kind: Kind): number {
    return this.#mended.get(kind) ?? 0
  }

  #mend({ kind }: Finding): void {
    this.#mended.set(kind, this.mended(kind) + 1)
  }

  summary(done: boolean): object {
    const { settled, failures } = this
    return { dryRun: !done, ...Object.fromEntries(this.#counts), settled, failures }
  }

  /** For people. */
  lines(done: boolean): readonly string[] {
    const words = done ? DONE : PLANNED
    const all = this.#shown.map(({ finding: { kind, key, store }, how, with: other }) => {
      const where = other === undefined ? '' : how === 'fetch' ? ` from ${other}` : `, as ${other}`
      return `${words[how]}: ${key} in ${store} (${kind})${where}`
    })
    for (const [how, count] of this.#counts) all.push(`${words[how]}: ${count}`)
    if (this.settled > 0) all.push(`not wrong any more: ${this.settled}`)
    if (this.failures > 0) all.push(`not repaired: ${this.failures}`)
    if (!done) all.push('Nothing was changed. Give --yes to do it.')
    return all
  }
}
