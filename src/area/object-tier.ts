import { Fault } from '../fault.ts'
import type { Budget } from '../seal/budget.ts'
import type { Sealing } from '../seal/sealing.ts'
import type { Store } from '../stores/store.ts'
import type { Again, TierName } from './area.ts'
import { findIn } from './find.ts'
import { keysOf, type Naming } from './naming.ts'
import { objectArea } from './object-area.ts'
import type { Tier } from './tier.ts'
import type { VerifiedCache } from './verified-cache.ts'

export interface ObjectTierOptions {
  readonly name: TierName
  readonly store: Store
  readonly naming: Naming
  readonly sealing: Sealing
  /** Bytes being sealed and unsealed at once. */
  readonly budget: Budget
  readonly cache: VerifiedCache
  readonly again: Again
}

/** A tier whose files are the objects of one store. */
export function objectTier({ name, store, naming, sealing, budget, cache, again }: ObjectTierOptions): Tier {
  const envelopes = sealing.envelopesOn(name)
  return {
    area: objectArea({
      store,
      keysOf: (attachment, suffix) => keysOf(naming, suffix, attachment),
      envelopes,
      unsealIfSealed: (get, attachment) => sealing.unsealIfSealed(get, attachment),
      budget,
      cache,
      again,
    }),
    find: findIn(store, attachment => [
      ...new Set(envelopes.flatMap(({ suffix }) => keysOf(naming, suffix, attachment))),
    ]),
    keyIdOf: ({ key, size }, signal) => sealing.keyIdOf(size, range => store.get(key, range, signal)),
    local: name === 'file-system',
    async ranges(attachment, size, signal) {
      for (const envelope of envelopes)
        for (const key of keysOf(naming, envelope.suffix, attachment))
          if ((await store.stat(key, signal))?.size === envelope.sealedSize(size))
            return envelope.ranges(range => store.get(key, range, signal))
      throw new Fault('NotFound', 'the file is not where it was', { where: { store: store.name } })
    },
    storedSize: envelopes[0].sealedSize,
  }
}
