import type { TierName } from './area.ts'

/** A process that moves files. */
export interface Mover {
  readonly host: string
  readonly pid: number
  /** When its turn began, by its own clock. */
  readonly since: string
}

export interface MoveTurn {
  /** Another process has the turn now. */
  readonly lost: boolean
  end(): Promise<void>
}

/**
 * Several processes may share both tiers. Only one at a time may move: two that move a file in opposite directions
 * could each remove what the other has just verified.
 */
export interface MoveTurns {
  /** A turn, or whose turn it is. Rejects when this process can never have one as things are. */
  take(): Promise<MoveTurn | { readonly waitsFor: Mover }>
  /** Removes a copy of a file. Rejects, and removes nothing, unless it is our turn and the remaining copy will stay. */
  removing(uuid: string, tier: TierName, remaining: TierName, remove: () => Promise<void>): Promise<void>
}

/** Where nobody else can move, such as in most tests. */
export const alone: MoveTurns = {
  take: async () => ({ lost: false, end: async () => {} }),
  removing: (_uuid, _tier, _remaining, remove) => remove(),
}
