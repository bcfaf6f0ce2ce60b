/** The index, read once for all shards: packed into parts, each of one shard. */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { ContentType } from '../area/area.ts'
import type { Indexed } from '../orthanc-index/orthanc-index.ts'
import { shardOfAny } from './scratch.ts'

/** Files that wait in memory, of all shards. */
const MOST_HELD = 50_000

type Packed = readonly [uuid: string, type: ContentType, size: number, md5: string | null]

/** Collects files until there are enough for a write. */
export class IndexParts {
  #parts = new Map<number, Packed[]>()
  #held = 0

  add({ uuid, type, size, md5 }: Indexed): void {
    const shard = shardOfAny(uuid)
    const part = this.#parts.get(shard) ?? []
    this.#parts.set(shard, part)
    part.push([uuid, type, size, md5 ?? null])
    this.#held++
  }

  get full(): boolean {
    return this.#held >= MOST_HELD
  }

  /** Those that were added, by shard, and begins anew. */
  take(): ReadonlyMap<number, Uint8Array> {
    const packed = [...this.#parts].map(([shard, part]) => [shard, deflateRawSync(JSON.stringify(part))] as const)
    this.#parts = new Map()
    this.#held = 0
    return new Map(packed)
  }
}

export function unpack(part: Uint8Array): readonly Indexed[] {
  const files = JSON.parse(inflateRawSync(part).toString()) as readonly Packed[]
  return files.map(([uuid, type, size, md5]) => ({ uuid, type, size, md5: md5 ?? undefined }))
}
