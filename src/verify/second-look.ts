/**
 * Files are stored, removed and moved while a verification runs, and a listing may be old. So what looks wrong is
 * looked at again, first in the stores and then in the index, before it is a finding. A finding is what is the same in
 * all looks.
 *
 * The index was read before the stores are looked at, and is asked after that. A UUID is used once. So a file that was
 * in the index both times was in it all the time, and one that was in it neither time never was.
 */

import { Crew } from '../bulk/crew.ts'
import type { Indexed, OrthancIndex } from '../orthanc-index/orthanc-index.ts'
import type { Finding } from './finding.ts'
import { judge, type Rules } from './judge.ts'
import { lookInStores } from './look.ts'
import type { Group, Seen } from './scratch.ts'

export interface Suspect {
  /** As the index and the listings had it. */
  readonly group: Group
  /** What may be wrong with it. */
  readonly findings: readonly Finding[]
}

export interface SecondLookOptions {
  readonly index: OrthancIndex
  readonly rules: Rules
  readonly concurrency: number
  onFinding(finding: Finding): void
  /** Called once for each suspect. `settled`: it is well. Not called where the look failed. */
  onLookedAt(settled: boolean): void
  onFailure(error: unknown): void
}

/** Suspects that the index is asked about at once. Many, because it may have to read everything to answer. */
const BATCH = 20_000

export class SecondLook {
  readonly #options: SecondLookOptions
  #suspects: Suspect[] = []

  constructor(options: SecondLookOptions) {
    this.#options = options
  }

  /** What was added and not looked at yet. */
  get waiting(): readonly Finding[] {
    return this.#suspects.flatMap(({ findings }) => findings)
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
    const { index, rules, concurrency, onFailure, onFinding, onLookedAt } = this.#options
    const still: { readonly suspect: Suspect; readonly seen: readonly Seen[] }[] = []
    const crew = new Crew(concurrency, onFailure)
    for (const suspect of suspects)
      await crew.add(async () => {
        const seen = await lookInStores(rules.places, suspect.group, signal)
        const findings = this.#same(suspect, suspect.group.file, seen)
        if (findings.length > 0) still.push({ suspect: { ...suspect, findings }, seen })
        else onLookedAt(true)
      })
    await crew.end()
    if (still.length === 0) return
    const now = await index.find(new Set(still.map(({ suspect }) => suspect.group.uuid)), signal)
    for (const { suspect, seen } of still) {
      const findings = this.#same(suspect, now.get(suspect.group.uuid), seen)
      for (const finding of findings) onFinding(finding)
      onLookedAt(findings.length === 0)
    }
  }

  /** What is wrong now, as far as it was wrong before. */
  #same({ group, findings }: Suspect, file: Indexed | undefined, seen: readonly Seen[]): readonly Finding[] {
    const now = new Set(judge({ uuid: group.uuid, file, seen }, this.#options.rules).map(identityOf))
    const there = new Set(seen.map(one => this.#keyOf(group.uuid, one)))
    const sameFile = file?.size === group.file?.size && file?.md5 === group.file?.md5
    return findings.filter(finding =>
      // What the bytes of an object have shown is true as long as the object is there, and the file.
      isOfBytes(finding)
        ? file && sameFile && there.has(`${finding.key} ${finding.store}`)
        : now.has(identityOf(finding)),
    )
  }

  #keyOf(uuid: string, { place, name }: Seen): string {
    const where = this.#options.rules.places[place]
    return `${where?.keyOf(uuid, name)} ${where?.store.name}`
  }
}

const identityOf = ({ kind, key, store }: Finding) => `${kind} ${key} ${store}`
const isOfBytes = ({ kind }: Finding) => kind === 'corrupt' || kind === 'unknown key'
