/** Medians over the rounds, and one storage beside another within each round. */
import type { BenchLoad, Cost, Figures } from './measure.ts'
import type { Subject } from './subjects.ts'

export interface Result {
  readonly subject: Subject
  readonly load: BenchLoad
  /** From 0. Within a round, subjects are measured one right after the other. */
  readonly round: number
  readonly figures: Figures
}

export function middle(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

export function medianFigures(results: readonly Result[], load: string, subject: string): Figures | undefined {
  const mine = results
    .filter(result => result.load.name === load && result.subject.name === subject)
    .map(r => r.figures)
  if (mine.length === 0) return undefined
  const cost = (of: CostOf): Cost | undefined => {
    const all = mine.map(of).filter(one => one !== undefined)
    if (all.length === 0) return undefined
    return {
      perSecond: middle(all.map(one => one.perSecond)),
      megabytesPerSecond: middle(all.map(one => one.megabytesPerSecond)),
      orthancCpu: middle(all.map(one => one.orthancCpu)),
      engineCpu: middle(all.map(one => one.engineCpu)),
    }
  }
  const engine = mine.map(one => one.enginePeak).filter(one => one !== undefined)
  return {
    upload: cost(costs.upload) as Cost,
    read: cost(costs.read),
    orthancPeak: Math.max(...mine.map(one => one.orthancPeak)),
    enginePeak: engine.length > 0 ? Math.max(...engine) : undefined,
  }
}

/** The median of `compare` of two storages in each round; undefined when no round has both. */
export function paired(
  results: readonly Result[],
  load: string,
  ours: string,
  other: string,
  compare: (ours: Figures, other: Figures) => number | undefined,
): number | undefined {
  const of = (name: string) => results.filter(one => one.load.name === load && one.subject.name === name)
  const found = of(ours).flatMap(mine => {
    const theirs = of(other).find(({ round }) => round === mine.round)
    const value = theirs && compare(mine.figures, theirs.figures)
    return value === undefined ? [] : [value]
  })
  return found.length === 0 ? undefined : middle(found)
}

export type CostOf = (figures: Figures) => Cost | undefined
export const costs: Readonly<Record<'upload' | 'read', CostOf>> = { upload: one => one.upload, read: one => one.read }
export const verbs = ['upload', 'read'] as const

const comparing = (compare: (ours: Cost, other: Cost) => number) => (of: CostOf) => (ours: Figures, other: Figures) => {
  const [mine, theirs] = [of(ours), of(other)]
  return mine && theirs && compare(mine, theirs)
}

/** How many times as fast. */
export const speeds = comparing((ours, other) => ours.perSecond / other.perSecond)
/** Milliseconds that it takes longer. */
export const longer = comparing((ours, other) => 1000 / ours.perSecond - 1000 / other.perSecond)
/** Milliseconds of processor time beyond the other's. */
export const cpuBeyond = comparing(
  (ours, other) => ours.orthancCpu + ours.engineCpu - other.orthancCpu - other.engineCpu,
)
