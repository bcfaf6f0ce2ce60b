import type { Repaired } from '../repair/context.ts'

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

  add(repaired: Repaired): void {
    const count = (this.#counts.get(repaired.how) ?? 0) + 1
    this.#counts.set(repaired.how, count)
    if (count <= MOST_SHOWN) this.#shown.push(repaired)
  }

  /** What is not wrong any more. */
  get mended(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, this.settled)
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
