import { diskNaming } from '../area/naming.ts'
import type { Composition } from '../compose.ts'
import type { EngineConfig } from '../config/config.ts'
import { a1 } from '../seal/a1.ts'
import type { Keyring } from '../seal/keyring.ts'
import { encryptionStateOf, envelopesOf } from '../seal/policy.ts'
import { Place } from '../verify/place.ts'

/** Where Orthanc's files may be, in the order in which it reads them. */
export function placesOf(config: EngineConfig, { store, hybrid, tiers }: Composition, keys: Keyring): readonly Place[] {
  const encryption = encryptionStateOf(config.encryption)
  const place = (tierName: 'object-storage' | 'file-system', at: typeof store, naming: typeof config.naming) => {
    const tier = tiers[tierName]
    const envelopes = envelopesOf(encryption, tierName, a1(keys))
    return tier ? [new Place({ tierName, store: at, naming, envelopes, tier })] : []
  }
  const inStore = place('object-storage', store, config.naming)
  const onDisk = hybrid ? place('file-system', hybrid.fileSystem, diskNaming) : []
  return config.hybrid?.writesTo === 'file-system' ? [...onDisk, ...inStore] : [...inStore, ...onDisk]
}
