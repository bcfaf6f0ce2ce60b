/**
 * Which type each file has, as Orthanc's index says: the names of the `legacy` structure do not tell it. One shard at a
 * time is in memory, 17 bytes for each file.
 */
import type { ContentType } from '../area/area.ts'
import type { Scratch } from '../verify/scratch.ts'

export type TypeOf = (uuid: string) => ContentType | undefined

const TYPES: readonly ContentType[] = ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown']
const ROW_BYTES = 17
const UUID_BYTES = 16
/** As Orthanc writes UUIDs. Few or none are different. */
const USUAL = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** `scratch`: the index is in it. */
export function typesOf(scratch: Pick<Scratch, 'groups'>, shard: number): TypeOf {
  const others = new Map<string, ContentType>()
  let rows = Buffer.alloc(ROW_BYTES * 1024)
  let count = 0
  for (const { uuid, file } of scratch.groups(shard)) {
    if (!file) continue
    if (!USUAL.test(uuid)) {
      others.set(uuid, file.type)
      continue
    }
    if ((count + 1) * ROW_BYTES > rows.byteLength) rows = Buffer.concat([rows, Buffer.alloc(rows.byteLength)])
    rows.write(uuid.replaceAll('-', ''), count * ROW_BYTES, 'hex')
    rows[count * ROW_BYTES + UUID_BYTES] = TYPES.indexOf(file.type)
    count++
  }
  // They come in their order.
  return uuid => {
    if (!USUAL.test(uuid)) return others.get(uuid)
    const wanted = Buffer.from(uuid.replaceAll('-', ''), 'hex')
    let [low, high] = [0, count]
    while (low < high) {
      const middle = (low + high) >> 1
      const at = middle * ROW_BYTES
      const order = rows.compare(wanted, 0, UUID_BYTES, at, at + UUID_BYTES)
      if (order === 0) return TYPES[rows[at + UUID_BYTES] ?? -1]
      if (order < 0) low = middle + 1
      else high = middle
    }
    return undefined
  }
}
