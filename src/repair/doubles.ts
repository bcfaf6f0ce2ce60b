/**
 * A file that is there twice keeps one object: the sealed one if there is one, else the one that Orthanc reads first.
 * The others go only after all were read whole and found equal. Never while a move runs: it may be about to remove the
 * object that would be kept.
 */
import type { Mover, MoveTurn } from '../area/turns.ts'
import { Crew } from '../bulk/crew.ts'
import { Fault, isCode } from '../fault.ts'
import type { Indexed } from '../orthanc-index/orthanc-index.ts'
import { newDigest } from '../seal/digest.ts'
import { plain } from '../seal/envelope.ts'
import type { Finding } from '../verify/finding.ts'
import { readOf } from '../verify/judge.ts'
import { lookInStores } from '../verify/look.ts'
import type { Place } from '../verify/place.ts'
import type { Seen } from '../verify/scratch.ts'
import { batches, placeOf, type RepairContext, type TwoTiers } from './context.ts'
import { type Away, removeAll } from './orphans.ts'

/** Whether a move is running or waiting. Rejects when that is not known. */
export type MovesRun = (signal: AbortSignal) => Promise<boolean>

/** Of which it is asked once whether a move runs. */
const BETWEEN_QUESTIONS = 20

export async function removeDoubles(
  doubles: Iterable<Finding>,
  how: Away,
  movesRun: MovesRun,
  context: RepairContext,
  signal: AbortSignal,
): Promise<void> {
  const { tiers, yes } = context
  const within = { ...context, loss: { fault: undefined } }
  let turn: MoveTurn | undefined
  try {
    for (const batch of batches(doubles)) {
      if (yes && tiers) turn ??= await takeTurn(tiers, signal)
      await removeBatch(batch, how, movesRun, within, signal)
    }
  } finally {
    await turn?.end()
  }
}

/** While we have it, no process of ours moves. */
async function takeTurn({ apart, turns }: TwoTiers, signal: AbortSignal): Promise<MoveTurn> {
  await apart(signal)
  const turn = await turns.take()
  if ('waitsFor' in turn) throw notOurTurn(turn.waitsFor)
  return turn
}

async function removeBatch(
  batch: readonly Finding[],
  how: Away,
  movesRun: MovesRun,
  context: DoublesContext,
  signal: AbortSignal,
): Promise<void> {
  const now = await context.index.find(new Set(batch.map(({ uuid }) => uuid)), signal)
  for (const some of batches(batch, BETWEEN_QUESTIONS)) {
    if (await movesRun(signal)) throw moving()
    const crew = new Crew(context.concurrency, context.onFailure)
    for (const finding of some)
      await crew.add(async () => {
        if (context.loss.fault) return
        const file = now.get(finding.uuid)
        try {
          if (file) await new Double(finding, file, context, signal).repair(how)
          else context.onSettled(finding) // Orthanc has removed it
        } catch (error) {
          throw Fault.from(error, { store: finding.store, key: finding.key })
        }
      })
    await crew.end()
    if (context.loss.fault) throw context.loss.fault
  }
}

interface DoublesContext extends RepairContext {
  /** A removal has taken the kept object as well: then no other one may go. */
  readonly loss: { fault: Fault | undefined }
}

interface Digests {
  readonly size: number
  readonly sha256: string
  readonly md5: string
}

class Double {
  readonly #finding: Finding
  readonly #file: Indexed
  readonly #context: DoublesContext
  readonly #signal: AbortSignal

  constructor(finding: Finding, file: Indexed, context: DoublesContext, signal: AbortSignal) {
    this.#finding = finding
    this.#file = file
    this.#context = context
    this.#signal = signal
  }

  async repair(how: Away): Promise<void> {
    const { places, yes, onRepaired, onSettled } = this.#context
    const finding = this.#finding
    const place = placeOf(this.#context, finding)
    const one = place.parse(finding.key)
    if (!one) return
    const named = { place: places.indexOf(place), name: one.name, size: 0, modified: Number.NaN, md5: undefined }
    const group = { uuid: finding.uuid, file: this.#file, seen: [named] }
    const seen = await lookInStores(places, group, this.#signal)
    const readable = readOf(this.#file, seen, places).map(read => read.seen)
    const extra = seen.find(other => other.place === named.place && other.name === named.name)
    if (!extra || seen.length < 2) return onSettled(finding)
    const kept = await this.#kept(readable)
    // Of two objects, each is named as the double of the other if the sealed one is not the first.
    if (kept.seen === extra) return await this.#keepOther(how, readable, kept)
    await this.#prove(extra, kept.digests)
    if (!yes) return onRepaired({ finding, how, ...(how === 'trash' && { with: place.trashKeyOf(finding.key) }) })
    await this.#remove(finding, how, place, kept.seen)
  }

  /** The object that the finding names is the one to keep: what Orthanc reads first goes instead of it. */
  async #keepOther(how: Away, readable: readonly Seen[], kept: Kept): Promise<void> {
    for (const other of readable) {
      if (other === kept.seen) continue
      await this.#prove(other, kept.digests)
      const place = this.#placeOf(other)
      const key = this.#keyOf(other)
      const finding = { ...this.#finding, key, store: place.store.name }
      if (this.#context.yes) await this.#remove(finding, how, place, kept.seen)
      else this.#context.onRepaired({ finding, how, ...(how === 'trash' && { with: place.trashKeyOf(key) }) })
      return
    }
  }

  async #kept(readable: readonly Seen[]): Promise<Kept> {
    let first: Kept | undefined
    for (const seen of readable) {
      const digests = await this.#read(seen)
      if (!this.#isRight(digests)) continue
      const kept = { seen, digests }
      if (await this.#isSealed(seen)) return kept
      first ??= kept
    }
    if (first) return first
    throw new Fault('Corrupt', 'none of its objects is what Orthanc stored; all are kept', {
      remedy: 'Restore the file from a backup.',
    })
  }

  async #prove(seen: Seen, { size, sha256 }: Digests): Promise<void> {
    const found = await this.#read(seen)
    if (found.size === size && found.sha256 === sha256) return
    throw new Fault('Corrupt', 'its bytes differ from those of the other object of the same file; both are kept', {
      where: { store: this.#placeOf(seen).store.name, key: this.#keyOf(seen) },
      remedy: 'Find out which one is right ("verify --deep"), and remove the other one.',
    })
  }

  async #remove(finding: Finding, how: Away, place: Place, kept: Seen): Promise<void> {
    const { tiers, loss } = this.#context
    const [tier, remaining] = [place.tierName, this.#placeOf(kept).tierName]
    const remove = async () => {
      if (loss.fault) throw loss.fault
      await this.#requireKept(kept, 'is gone; the double stays')
      await removeAll([finding], how, place, this.#context, this.#signal)
    }
    if (tiers && tier !== remaining) await tiers.turns.removing(this.#file.uuid, tier, remaining, remove)
    else await remove()
    await this.#requireKept(kept, 'is gone after its double was removed').catch(error => {
      if (isCode(error, 'Corrupt')) loss.fault ??= error
      throw error
    })
  }

  async #requireKept(kept: Seen, what: string): Promise<void> {
    const { store } = this.#placeOf(kept)
    const key = this.#keyOf(kept)
    if ((await store.stat(key, this.#signal))?.size === kept.size) return
    throw new Fault('Corrupt', `${key} in ${store.name} ${what}`, {
      remedy: 'Something else removes or moves files there: stop it. Then run "verify" again.',
    })
  }

  /** Of the file, not of the object. */
  async #read(seen: Seen): Promise<Digests> {
    const { store, tier } = this.#placeOf(seen)
    const [envelope, ...others] = this.#envelopes(seen)
    if (!envelope)
      throw new Fault('BadConfig', 'it cannot be opened with this configuration; it stays as it is', {
        where: { store: store.name, key: this.#keyOf(seen) },
      })
    // More than one: the bytes say which. Then it is the only name of the file there.
    const { body } =
      others.length > 0
        ? await tier.area.read(this.#file, undefined, this.#signal)
        : envelope.unseal(await store.get(this.#keyOf(seen), undefined, this.#signal))
    const [sha256, md5] = [newDigest('sha256'), newDigest('md5')]
    let size = 0
    for await (const chunk of body) {
      sha256.update(chunk)
      md5.update(chunk)
      size += chunk.byteLength
    }
    return { size, sha256: sha256.hex(), md5: md5.hex() }
  }

  #isRight({ size, md5 }: Digests): boolean {
    return size === this.#file.size && (this.#file.md5 === undefined || md5 === this.#file.md5)
  }

  #envelopes(seen: Seen) {
    const place = this.#placeOf(seen)
    const how = place.readable(this.#file.type).find(({ name }) => name === seen.name)
    return how?.envelopes ?? (place.isPlainName(seen.name) ? [plain] : [])
  }

  async #isSealed(seen: Seen): Promise<boolean> {
    const [envelope, ...others] = this.#envelopes(seen)
    if (others.length === 0) return envelope?.suffix === '.enc'
    const found = { key: this.#keyOf(seen), size: seen.size }
    return (await this.#placeOf(seen).tier.keyIdOf(found, this.#signal)) !== undefined
  }

  #placeOf({ place }: Seen): Place {
    return this.#context.places[place] as Place
  }

  #keyOf(seen: Seen): string {
    return this.#placeOf(seen).keyOf(this.#file.uuid, seen.name)
  }
}

interface Kept {
  readonly seen: Seen
  readonly digests: Digests
}

function moving(): Fault {
  return new Fault('BadRequest', 'Orthanc moves files now, so no double is removed', {
    remedy: 'Wait until GET /jobs has no MoveStorage that runs, waits or is paused. Then run the command again.',
  })
}

function notOurTurn({ host, pid, since }: Mover): Fault {
  return new Fault('BadRequest', `process ${pid} on ${host} moves files since ${since}, so no double is removed`, {
    remedy: 'It is an Orthanc that shares this disk, or another repair. Wait for its end, then run the command again.',
  })
}
