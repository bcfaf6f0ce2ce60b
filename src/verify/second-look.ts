/**
 * Files are stored, removed and moved while a verification runs, and a listing may be old. So what looks wrong is
 * looked at again, in the index and in the stores, before it is a finding. A finding is what is the same in all looks.
 *
 * The index is asked before the stores and after them. A UUID is used once. So a file that was in the index both times
 * was in it all the time, and one that was in it neither time never was.
 */
import type { Indexed, OrthancIndex } from '../orthanc-index/orthanc-index.ts'
import { Crew } from './crew.ts'
import { seenOf } from './fill.ts'
import { type Finding, judge, type Rules } from './judge.ts'
import type { Group, Seen } from './scratch.ts'

export interface Suspect {
  readonly group: Group
  readonly findings: readonly Finding[]
}

export interface SecondLookOptions {
  readonly index: OrthancIndex
  readonly rules: Rules
  readonly concurrency: number
  onFinding(finding: Finding): void
  /** Called once for each suspect that is well. */
  onSettled(): void
  onFailure(error: unknown): void
}

/** Suspects that the index is asked about at once. */
const BATCH = 500

export class SecondLook {
  readonly #options: SecondLookOptions
  #suspects: Suspect[] = []

  constructor(options: SecondLookOptions) {
    this.#options = options
  }

  async add(suspect: Suspect, signal: AbortSignal): Promise<void> {
    this.#suspects.push(suspect)
    if (this.#suspects.length >= BATCH) await this.end(signal)
  }

  /** Resolves when all that were added have been looked at. */
  async end(signal: AbortSignal): Promise<void> {
    const suspects = this.#suspects
    this.#suspects = []
    if (suspects.length === 0) return
    const { index, concurrency, onFailure, onFinding, onSettled } = this.#options
    const before = await index.find(uuidsOf(suspects), signal)
    const still: { readonly suspect: Suspect; readonly seen: readonly Seen[] }[] = []
    const crew = new Crew(concurrency, onFailure)
    for (const suspect of suspects)
      await crew.add(async () => {
        const file = before.get(suspect.group.uuid)
        const seen = await this.#look(suspect.group, file, signal)
        const findings = this.#same(suspect, file, seen)
        if (findings.length > 0) still.push({ suspect: { ...suspect, findings }, seen })
        else onSettled()
      })
    await crew.end()
    if (still.length === 0) return
    const after = await index.find(uuidsOf(still.map(({ suspect }) => suspect)), signal)
    for (const { suspect, seen } of still) {
      const findings = this.#same(suspect, after.get(suspect.group.uuid), seen)
      for (const finding of findings) onFinding(finding)
      if (findings.length === 0) onSettled()
    }
  }

  /** What is wrong now, as far as it was wrong before. */
  #same({ group, findings }: Suspect, file: Indexed | undefined, seen: readonly Seen[]): readonly Finding[] {
    const now = judge({ uuid: group.uuid, file, seen }, this.#options.rules)
    const was = findings.map(identityOf)
    return now.filter(finding => was.includes(identityOf(finding)))
  }

  /** All objects that the file may be now. Nothing in any place: perhaps a move passed by, so it looks once more. */
  async #look(group: Group, file: Indexed | undefined, signal: AbortSignal): Promise<readonly Seen[]> {
    const { places } = this.#options.rules
    const wanted = places.map((place, index) => {
      const names = group.seen.filter(seen => seen.place === index).map(({ name }) => name)
      for (const { name } of file ? place.readable(file.type) : []) names.push(name)
      return [...new Set(names)]
    })
    const look = async () => {
      const looks = places.flatMap((place, index) =>
        (wanted[index] ?? []).map(async name => {
          const stat = await place.store.stat(place.keyOf(group.uuid, name), signal)
          return stat ? [seenOf(stat, index, name)] : []
        }),
      )
      return (await Promise.all(looks)).flat()
    }
    const seen = await look()
    return seen.length === 0 && places.length > 1 ? await look() : seen
  }
}

const uuidsOf = (suspects: readonly Suspect[]) => new Set(suspects.map(({ group }) => group.uuid))
const identityOf = ({ kind, key, store }: Finding) => `${kind} ${key} ${store}`
