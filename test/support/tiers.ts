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
import { plain } from '../../src/seal/envelope.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/stores/store.ts'

export const never = new AbortController().signal
export const disk = 'file-system'
export const cloud = 'object-storage'
export const move = { keepSource: false }

export const digests = (algorithm: string) => {
  const hash = createHash(algorithm)
  return { update: (bytes: Uint8Array) => void hash.update(bytes), hex: () => hash.digest('hex') }
}

export const naming = {
  [cloud]: { rootPath: 'x', structure: 'flat', legacyUnknownFiles: false },
  [disk]: { rootPath: '', structure: 'legacy', legacyUnknownFiles: false },
} as const

export const keyOn = (tier: TierName, attachment: Attachment) => keysOf(naming[tier], '', attachment)[0]

export function tierOf(tier: TierName, store: Store): Tier {
  const area = objectArea({
    store,
    keysOf: (attachment, suffix) => keysOf(naming[tier], suffix, attachment),
    envelopes: [plain],
    tell: get => get(),
    budget: new Budget(0),
    cache: new VerifiedCache(0, 0),
  })
  const keyIdOf = async () => undefined
  return {
    area,
    keyIdOf,
    local: tier === disk,
    find: findIn(store, attachment => keysOf(naming[tier], '', attachment)),
  }
}

export type Stores = Record<TierName, Store>

export function make(first: TierName, wrap: Partial<Record<TierName, (store: Store) => Store>> = {}) {
  const stores: Stores = { [disk]: memoryStore('disk'), [cloud]: memoryStore('cloud') }
  const warnings: string[] = []
  const tier = (name: TierName) => tierOf(name, wrap[name]?.(stores[name]) ?? stores[name])
  const area = hybridArea({
    tiers: { [disk]: tier(disk), [cloud]: tier(cloud) },
    first,
    digests,
    warn: line => void warnings.push(line),
  })
  return { stores, area, warnings }
}

export const file = (): Attachment => ({ uuid: randomUUID(), type: 'dicom' })
export const bytes = Buffer.from('the bytes of a file')
export const genuine = {
  keepSource: false,
  known: { size: bytes.byteLength, md5: createHash('md5').update(bytes).digest('hex') },
}
export const failing =
  (code: FaultCode, ...verbs: (keyof Store)[]) =>
  (store: Store): Store => ({
    ...store,
    ...Object.fromEntries(verbs.map(verb => [verb, () => Promise.reject(new Fault(code, `${store.name} is bad`))])),
  })

export const has = async (stores: Stores, tier: TierName, attachment: Attachment) =>
  (await stores[tier].stat(keyOn(tier, attachment), never)) !== undefined
export const where = async (stores: Stores, attachment: Attachment) =>
  `${(await has(stores, disk, attachment)) ? 'disk' : ''}${(await has(stores, cloud, attachment)) ? 'cloud' : ''}`
export const place = (stores: Stores, tier: TierName, attachment: Attachment, content: Uint8Array = bytes) =>
  stores[tier].put(keyOn(tier, attachment), sourceOf(content), never)
export const read = async (area: HybridArea, attachment: Attachment) =>
  collect(await area.read(attachment, undefined, never))
