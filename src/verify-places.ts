/** What a configuration means for a verification: where files may be, and which of them wait for their removal. */
import type { TierName } from './area/area.ts'
import { diskNaming } from './area/naming.ts'
import type { Tier } from './area/tier.ts'
import type { EngineConfig } from './config/config.ts'
import { identityOf } from './config/identity.ts'
import { Deletions } from './deletions/deletions.ts'
import { Fault } from './fault.ts'
import { a1 } from './seal/a1.ts'
import type { Keyring } from './seal/keyring.ts'
import { encryptionStateOf, envelopesOf } from './seal/policy.ts'
import type { Store } from './stores/store.ts'
import type { Finding } from './verify/finding.ts'
import { Place } from './verify/place.ts'

/** What of a composition is needed. */
export interface Composed {
  readonly store: Store
  readonly hybrid: { readonly fileSystem: Store } | undefined
  /** Without cache. */
  readonly tiers: Readonly<Partial<Record<TierName, Tier>>>
}

/** Where Orthanc's files may be, in the order in which it reads them. */
export function placesOf(config: EngineConfig, { store, hybrid, tiers }: Composed, keys: Keyring): readonly Place[] {
  const encryption = encryptionStateOf(config.encryption)
  const place = (tierName: TierName, at: Store, naming: EngineConfig['naming']) => {
    const tier = tiers[tierName]
    const envelopes = envelopesOf(encryption, tierName, a1(keys))
    return tier ? [new Place({ tierName, store: at, naming, envelopes, tier })] : []
  }
  const inStore = place('object-storage', store, config.naming)
  const onDisk = hybrid ? place('file-system', hybrid.fileSystem, diskNaming) : []
  return config.hybrid?.writesTo === 'file-system' ? [...onDisk, ...inStore] : [...inStore, ...onDisk]
}

/**
 * What waits in the journal of removals, where there is one: Orthanc has forgotten it, and it will be removed.
 * `store`: its name.
 */
export async function promisedIn(
  config: EngineConfig,
  store: string,
  warn: (line: string) => void,
): Promise<(orphan: Finding) => boolean> {
  if (!config.deletions) return () => false
  try {
    const { entries } = await Deletions.look(config.deletions.folder)
    const { pending, findings } = entries.of(identityOf(config))
    return orphan => orphan.store === store && (pending.has(orphan.key) || findings.has(orphan.key))
  } catch (error) {
    warn(`removals that wait may be called orphans: ${Fault.from(error).describe()}`)
    return () => false
  }
}
