import { seenOf } from './fill.ts'
import type { Place } from './place.ts'
import type { Group, Seen } from './scratch.ts'

/**
 * All objects that the file may be now, under the names that were seen and those that Orthanc reads. Nothing in any
 * place: perhaps a move passed by, so it looks once more.
 */
export async function lookInStores(
  places: readonly Place[],
  { uuid, file, seen: before }: Group,
  signal: AbortSignal,
): Promise<readonly Seen[]> {
  const wanted = places.map((place, index) => {
    const names = before.filter(seen => seen.place === index).map(({ name }) => name)
    for (const { name } of file ? place.readable(file.type) : []) names.push(name)
    return [...new Set(names)]
  })
  const look = async () => {
    const looks = places.flatMap((place, index) =>
      (wanted[index] ?? []).map(async name => {
        const stat = await place.store.stat(place.keyOf(uuid, name), signal)
        return stat ? [seenOf(stat, index, name)] : []
      }),
    )
    return (await Promise.all(looks)).flat()
  }
  const seen = await look()
  return seen.length === 0 && places.length > 1 ? await look() : seen
}
