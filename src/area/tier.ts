import type { Content, Range } from '../bytes.ts'
import type { Attachment, Found, StorageArea, TierName } from './area.ts'
import type { Find } from './find.ts'

/**
 * One tier: a storage area and the way to look for a file in it without reading it. A move uses both tiers at once. So
 * at most one of them may make a caller wait for memory (`Budget`): two moves in opposite directions could each hold
 * what the other waits for.
 */
export interface Tier {
  readonly area: StorageArea
  readonly find: Find
  /** Whether looking there costs no round trip over a network. */
  readonly local: boolean
  /** The id of the master key that an object is sealed under; undefined when it is plain. */
  keyIdOf(found: Found, signal: AbortSignal): Promise<number | undefined>
  /**
   * Ranges of a file of `size` bytes, which are not verified. The caller compares them with the fingerprint of a whole
   * reading. Without this function, each range of a sealed file costs a reading of all of it.
   */
  ranges?(attachment: Attachment, size: number, signal: AbortSignal): Promise<(range: Range) => Promise<Content>>
  /** How many bytes a file of `size` bytes takes where it is stored. Without this function, as many. */
  storedSize?(size: number): number
  /** Resolves when a file that is there is safe from a power cut, also when another program wrote it. */
  settle?(attachment: Attachment, signal: AbortSignal): Promise<void>
}

export const otherTier: Readonly<Record<TierName, TierName>> = {
  'file-system': 'object-storage',
  'object-storage': 'file-system',
}
