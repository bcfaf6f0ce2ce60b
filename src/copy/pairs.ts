/** Which object of the source is which one of the target. Nothing is asked here. */
import type { ContentType } from '../area/area.ts'
import type { Listing } from './listing.ts'
import type { Plan } from './plan.ts'
import { type Item, isRead, type Side } from './side.ts'

/** A file of the source, and what the target has of it. */
export interface Pair {
  readonly item: Item
  /** At the target. */
  readonly key: string
  readonly there: Item | undefined
}

/** Why an object of the source has no place at the target. */
export type Unplaced = 'not read' | 'no type' | 'same name'

export interface Pairs {
  readonly pairs: readonly Pair[]
  readonly unplaced: readonly { readonly item: Item; readonly why: Unplaced }[]
  /** Objects of the source that Orthanc does not read, because it reads another one of the same file first. */
  readonly doubles: readonly Item[]
  /** Objects of the target of files that the source does not have. */
  readonly extra: readonly Item[]
  /** Objects of the target of files that the source has, under names that a copy does not write. */
  readonly otherNames: readonly Item[]
}

export interface PairingOptions {
  readonly from: Side
  readonly plan: Plan
  /** Where the names of the source do not say it. */
  typeOf(uuid: string): ContentType | undefined
}

export function pairsOf(source: Listing, target: Listing, { from, plan, typeOf }: PairingOptions): Pairs {
  const byKey = new Map<string, Item[]>()
  const unplaced: { item: Item; why: Unplaced }[] = []
  const files = new Map<string, Set<ContentType | undefined>>()
  for (const item of source.items.values()) {
    const type = item.type ?? (plan.needsTypes ? typeOf(item.uuid) : undefined)
    files.set(item.uuid, (files.get(item.uuid) ?? new Set()).add(type))
    if (!isRead(from, item)) unplaced.push({ item, why: 'not read' })
    else if (plan.needsTypes && type === undefined) unplaced.push({ item, why: 'no type' })
    else {
      const key = plan.keyOf(item, type)
      byKey.set(key, [...(byKey.get(key) ?? []), item])
    }
  }
  const pairs: Pair[] = []
  const doubles: Item[] = []
  for (const [key, items] of byKey) {
    const [first, ...others] = [...items].sort((a, b) => orderOf(from, a) - orderOf(from, b)) as [Item, ...Item[]]
    if (others.some(({ type }) => type !== first.type)) {
      for (const item of items) unplaced.push({ item, why: 'same name' })
      continue
    }
    doubles.push(...others)
    pairs.push({ item: first, key, there: target.items.get(key) })
  }
  const extra: Item[] = []
  const otherNames: Item[] = []
  for (const item of target.items.values()) {
    if (byKey.has(item.key)) continue
    const types = files.get(item.uuid)
    const same = types && (item.type === undefined || types.has(undefined) || types.has(item.type))
    if (same) otherNames.push(item)
    else extra.push(item)
  }
  return { pairs, unplaced, doubles, extra, otherNames }
}

/** The one that Orthanc reads first in front. */
const orderOf = ({ envelopes }: Side, { sealed }: Item) =>
  envelopes.findIndex(({ suffix }) => (suffix !== '') === sealed)
