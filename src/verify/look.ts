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
  // One question at a time to each store, so that who bounds the files also bounds the connections.
  const lookIn = async (place: Place, index: number) => {
    const seen: Seen[] = []
    for (const name of wanted[index] ?? []) {
      const stat = await place.store.stat(place.keyOf(uuid, name), signal)
      if (stat) seen.push(seenOf(stat, index, name))
    }
    return seen
  }
  const look = async () => (await Promise.all(places.map(lookIn))).flat()
  const seen = await look()
  return seen.length === 0 && places.length > 1 ? await look() : seen
}
