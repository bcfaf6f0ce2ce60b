import type { Naming } from '../area/naming.ts'
import { prefixOf } from '../area/naming.ts'

/** Both cases: Orthanc writes UUIDs in small letters, but a key with capitals is one of its keys, too. */
const casesOf = (digit: string) => [...new Set([digit, digit.toUpperCase()])]

/** All prefixes of keys of this shard (docs/contract.md, "Object keys"). No object has two of them. */
export function prefixesOf(naming: Naming, shard: number): readonly string[] {
  const [first = '', second = ''] = shard.toString(16).padStart(2, '0')
  return casesOf(first).flatMap(one => casesOf(second).map(other => `${prefixOf(naming)}${one}${other}`))
}

/** Of a UUID. */
export const shardOf = (uuid: string): number => Number.parseInt(uuid.slice(0, 2), 16)
