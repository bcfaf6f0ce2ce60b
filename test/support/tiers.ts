import { createHash, randomUUID } from 'node:crypto'
import type { Attachment, TierName } from '../../src/area/area.ts'
import { findIn } from '../../src/area/find.ts'
import { type HybridArea, hybridArea } from '../../src/area/hybrid.ts'
import { keysOf } from '../../src/area/naming.ts'
import { objectArea } from '../../src/area/object-area.ts'
import type { Tier } from '../../src/area/tier.ts'
import { VerifiedCache } from '../../src/area/verified-cache.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import { Fault, type FaultCode } from '../../src/fault.ts'
import { Budget } from '../../src/seal/budget.ts'
import { newDigest } from '../../src/seal/digest.ts'
import { plain } from '../../src/seal/envelope.ts'
import type { Store } from '../../src/stores/store.ts'
import { memoryStore } from './memory-store.ts'

export const never = new AbortController().signal
export const fileSystem = 'file-system'
export const objectStorage = 'object-storage'
export const moveOptions = { keepSource: false }
export const digests = newDigest

export const naming = {
  [objectStorage]: { rootPath: 'x', structure: 'flat', legacyUnknownFiles: false },
  [fileSystem]: { rootPath: '', structure: 'legacy', legacyUnknownFiles: false },
} as const

export const keyOn = (tier: TierName, attachment: Attachment) => keysOf(naming[tier], '', attachment)[0]

export function tierOf(tier: TierName, store: Store): Tier {
  const area = objectArea({
    store,
    keysOf: (attachment, suffix) => keysOf(naming[tier], suffix, attachment),
    envelopes: [plain],
    unsealIfSealed: get => get(),
    budget: new Budget(0),
    cache: new VerifiedCache(0, 0),
  })
  const keyIdOf = async () => undefined
  return {
    area,
    keyIdOf,
    local: tier === fileSystem,
    find: findIn(store, attachment => keysOf(naming[tier], '', attachment)),
  }
}

export type Stores = Record<TierName, Store>

export function makeHybrid(primary: TierName, wrap: Partial<Record<TierName, (store: Store) => Store>> = {}) {
  const stores: Stores = { [fileSystem]: memoryStore('disk'), [objectStorage]: memoryStore('cloud') }
  const warnings: string[] = []
  const tier = (name: TierName) => tierOf(name, wrap[name]?.(stores[name]) ?? stores[name])
  const area = hybridArea({
    tiers: { [fileSystem]: tier(fileSystem), [objectStorage]: tier(objectStorage) },
    primary,
    digests,
    warn: line => void warnings.push(line),
  })
  return { stores, area, warnings }
}

export const newFile = (): Attachment => ({ uuid: randomUUID(), type: 'dicom' })
export const fileBytes = Buffer.from('the bytes of a file')
export const moveKnownByMd5 = {
  keepSource: false,
  known: { size: fileBytes.byteLength, md5: createHash('md5').update(fileBytes).digest('hex') },
}
export const failing =
  (code: FaultCode, ...verbs: (keyof Store)[]) =>
  (store: Store): Store => ({
    ...store,
    ...Object.fromEntries(verbs.map(verb => [verb, () => Promise.reject(new Fault(code, `${store.name} is bad`))])),
  })

export const isOn = async (stores: Stores, tier: TierName, attachment: Attachment) =>
  (await stores[tier].stat(keyOn(tier, attachment), never)) !== undefined
/** Which tiers have the file. */
export async function tiersHolding(stores: Stores, attachment: Attachment): Promise<TierName[]> {
  const holding: TierName[] = []
  for (const tier of [fileSystem, objectStorage] as const) if (await isOn(stores, tier, attachment)) holding.push(tier)
  return holding
}
export const storeOn = (stores: Stores, tier: TierName, attachment: Attachment, content: Uint8Array = fileBytes) =>
  stores[tier].put(keyOn(tier, attachment), sourceOf(content), never)
export const readWhole = async (area: HybridArea, attachment: Attachment) =>
  collect(await area.read(attachment, undefined, never))
