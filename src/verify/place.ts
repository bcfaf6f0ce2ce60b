/** Where Orthanc's files may be, and what they are called there. */
import type { Attachment, ContentType, TierName } from '../area/area.ts'
import { keyFromTrash, keysOf, type Naming, parseKey, prefixOf, trashKeyOf, trashPrefixOf } from '../area/naming.ts'
import type { Tier } from '../area/tier.ts'
import type { Envelope } from '../seal/envelope.ts'
import type { Store } from '../stores/store.ts'

export interface PlaceOptions {
  readonly tierName: TierName
  readonly store: Store
  readonly naming: Naming
  /** Those that Orthanc reads there, the one of new files first. */
  readonly envelopes: readonly Envelope[]
  /** The same store as Orthanc reads it. */
  readonly tier: Tier
}

/** One name under which Orthanc reads a file. */
export interface Readable {
  readonly name: number
  /** More than one: only the bytes show which. */
  readonly envelopes: readonly Envelope[]
}

const TYPES: readonly ContentType[] = ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown']
const SUFFIXES = ['', '.enc'] as const
/** The name of a file in the `legacy` structure, which says nothing of it. */
const LEGACY = TYPES.length * SUFFIXES.length
const ANY_UUID = '00000000-0000-0000-0000-000000000000'

/**
 * A store with the names of its files. A name is a number, which together with the UUID is a key: the index of the type
 * and of the ending in the `flat` structure, a number of its own in the `legacy` one.
 */
export class Place {
  readonly tierName: TierName
  readonly store: Store
  readonly prefix: string
  readonly tier: PlaceOptions['tier']
  readonly naming: Naming
  readonly #readable: ReadonlyMap<ContentType, readonly Readable[]>

  constructor({ tierName, store, naming, envelopes, tier }: PlaceOptions) {
    this.tierName = tierName
    this.store = store
    this.tier = tier
    this.prefix = prefixOf(naming)
    this.naming = naming
    this.#readable = new Map(TYPES.map(type => [type, this.#readableOf(type, envelopes)]))
  }

  /** Undefined for a key that no file of Orthanc's has. */
  parse(key: string): { readonly uuid: string; readonly name: number } | undefined {
    const found = parseKey(this.naming, key)
    return found && { uuid: found.uuid, name: nameOf(found.type, found.sealed === true) }
  }

  get trashPrefix(): string {
    return trashPrefixOf(this.naming)
  }

  /** Where an object of ours goes that is put aside. */
  trashKeyOf(key: string): string {
    return trashKeyOf(this.naming, key)
  }

  /** Whether the key is that of a file of ours that was put aside. */
  isInTrash(key: string): boolean {
    return keyFromTrash(this.naming, key) !== undefined
  }

  keyOf(uuid: string, name: number): string {
    const type = this.typeOf(name) ?? 'unknown'
    return keysOf({ ...this.naming, legacyUnknownFiles: false }, SUFFIXES[name % 2] ?? '', { uuid, type })[0]
  }

  /** Undefined where the name does not say it. */
  typeOf(name: number): ContentType | undefined {
    return TYPES[name >> 1]
  }

  /** Whether an object of this name is plain, also where Orthanc does not read it. */
  isPlainName(name: number): boolean {
    return name !== LEGACY && name % 2 === 0
  }

  /** Under which names Orthanc reads a file of this type, in its order. */
  readable(type: ContentType): readonly Readable[] {
    return this.#readable.get(type) ?? []
  }

  #readableOf(type: ContentType, envelopes: readonly Envelope[]): readonly Readable[] {
    const attachment: Attachment = { uuid: ANY_UUID, type }
    const found = new Map<number, Envelope[]>()
    for (const envelope of envelopes)
      for (const key of keysOf(this.naming, envelope.suffix, attachment)) {
        const { name = LEGACY } = this.parse(key) ?? {}
        found.set(name, [...(found.get(name) ?? []), envelope])
      }
    return [...found].map(([name, possible]) => ({ name, envelopes: possible }))
  }
}

function nameOf(type: ContentType | undefined, sealed: boolean): number {
  return type === undefined ? LEGACY : TYPES.indexOf(type) * 2 + (sealed ? 1 : 0)
}
