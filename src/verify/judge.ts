/** What is wrong with one file, given what the index and the stores say of it. Nothing is asked here. */
import type { ContentType } from '../area/area.ts'
import type { Indexed } from '../orthanc-index/orthanc-index.ts'
import type { Place, Readable } from './place.ts'
import type { Group, Seen } from './scratch.ts'

export const KINDS = ['missing', 'wrong size', 'corrupt', 'unknown key', 'orphan', 'double', 'leftover'] as const
export type Kind = (typeof KINDS)[number]

export interface Finding {
  readonly kind: Kind
  readonly uuid: string
  /** undefined = neither the index nor the key says it. */
  readonly type: ContentType | undefined
  readonly key: string
  /** Name of the store. */
  readonly store: string
  readonly expected: string
  readonly found: string
}

export interface Rules {
  readonly places: readonly Place[]
  /** Whether a file that the index does not have is so young that its upload may be under way. */
  isYoung(seen: Seen): boolean
}

/** An object that Orthanc reads as this file. */
export interface Read {
  readonly seen: Seen
  readonly how: Readable
}

/** Those of the objects that Orthanc reads as this file, the one that it reads first in front. */
export function readOf(file: Indexed, seen: readonly Seen[], places: readonly Place[]): readonly Read[] {
  return places.flatMap((place, index) =>
    place.readable(file.type).flatMap(how => {
      const one = seen.find(object => object.place === index && object.name === how.name)
      return one ? [{ seen: one, how }] : []
    }),
  )
}

export const hasRightSize = (file: Indexed, { seen, how }: Read) =>
  how.envelopes.some(envelope => envelope.sealedSize(file.size) === seen.size)

/**
 * An object of a UUID that the index has is never an orphan, whatever its name: it may be all that is left of a file.
 */
export function judge({ uuid, file, seen }: Group, rules: Rules): readonly Finding[] {
  const { places } = rules
  const at = ({ place, name }: Seen) => {
    const where = places[place] as Place
    return { key: where.keyOf(uuid, name), store: where.store.name }
  }
  if (!file)
    return seen
      .filter(one => !rules.isYoung(one))
      .map(one => ({
        kind: 'orphan',
        uuid,
        type: places[one.place]?.typeOf(one.name),
        ...at(one),
        expected: 'nothing, the index does not have it',
        found: `${one.size} bytes, written ${dateOf(one.modified)}`,
      }))
  const { type } = file
  const read = readOf(file, seen, places)
  const others = seen.filter(one => !read.some(other => other.seen === one))
  const [first, ...more] = read
  if (!first) return [missing(file, others, places)]
  const wrong = read
    .filter(one => !hasRightSize(file, one))
    .map(one => ({
      kind: 'wrong size' as const,
      uuid,
      type,
      ...at(one.seen),
      expected: `${one.how.envelopes.map(envelope => envelope.sealedSize(file.size)).join(' or ')} bytes`,
      found: `${one.seen.size} bytes`,
    }))
  const doubles = [...more.map(one => one.seen), ...others].map(one => ({
    kind: 'double' as const,
    uuid,
    type,
    ...at(one),
    expected: `only ${at(first.seen).key} in ${at(first.seen).store}`,
    found: `${one.size} bytes more${others.includes(one) ? ', under a name that Orthanc does not read' : ''}`,
  }))
  return [...wrong, ...doubles]
}

function missing(file: Indexed, others: readonly Seen[], places: readonly Place[]): Finding {
  const { uuid, type, size } = file
  const [place] = places as readonly [Place]
  const keys = others.map(({ place: index, name }) => places[index]?.keyOf(uuid, name))
  return {
    kind: 'missing',
    uuid,
    type,
    key: place.keyOf(uuid, place.readable(type)[0]?.name ?? 0),
    store: places.map(({ store }) => store.name).join(' and '),
    expected: `a file of ${size} bytes`,
    found: keys.length === 0 ? 'nothing' : `only ${keys.join(', ')}, which this configuration does not read`,
  }
}

const dateOf = (modified: number) => (Number.isNaN(modified) ? 'at a time not known' : new Date(modified).toISOString())
