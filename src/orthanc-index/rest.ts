/**
 * Orthanc's index through its REST API, whatever database it is in. The lists of children that Orthanc gives level by
 * level say what there is; `/tools/find` only spares two requests for each instance.
 */
import { throwIfAborted } from '../fault.ts'
import { inFlight } from './in-flight.ts'
import type { Indexed, OrthancIndex } from './orthanc-index.ts'
import { type Asked, type Level, Resources } from './resources.ts'

/** Of each level. A client over HTTP bounds all of them together. */
const AT_ONCE = 8

/** A resource with the attachments of its own, and its ids on the next level. */
interface Visited {
  readonly own: readonly Indexed[]
  readonly children: readonly string[]
}

/** `close`: ends what `orthanc` needs. */
export function restIndex(orthanc: Asked, name: string, close: () => Promise<void> = async () => {}): OrthancIndex {
  return new RestIndex(new Resources(orthanc), name, close)
}

class RestIndex implements OrthancIndex {
  readonly name: string
  readonly close: () => Promise<void>
  readonly #resources: Resources

  constructor(resources: Resources, name: string, close: () => Promise<void>) {
    this.#resources = resources
    this.name = name
    this.close = close
  }

  async *all(signal: AbortSignal): AsyncGenerator<readonly Indexed[]> {
    throwIfAborted(signal)
    const finds = await this.#resources.knowsFind(signal)
    // What patients and studies have of their own goes with the next batch.
    const own: Indexed[] = []
    const patients = await this.#resources.patients(signal)
    const studies = this.#below('patients', patients, own, signal)
    const series = this.#below('studies', studies, own, signal)
    const ofSeries = (id: string, stop: AbortSignal) => this.#ofSeries(id, finds, stop)
    for await (const batch of inFlight(series, AT_ONCE, ofSeries, signal)) yield [...own.splice(0), ...batch]
    yield own
  }

  /** Orthanc has no question by UUID. So this reads everything again, and keeps what is wanted. */
  async find(uuids: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlyMap<string, Indexed>> {
    const found = new Map<string, Indexed>()
    if (uuids.size === 0) return found
    for await (const batch of this.all(signal)) {
      for (const attachment of batch) if (uuids.has(attachment.uuid)) found.set(attachment.uuid, attachment)
      if (found.size === uuids.size) break
    }
    return found
  }

  async *#below(
    level: 'patients' | 'studies',
    ids: AsyncIterable<string> | Iterable<string>,
    own: Indexed[],
    signal: AbortSignal,
  ): AsyncGenerator<string> {
    const visit = (id: string, stop: AbortSignal) => this.#visit(level, id, stop)
    for await (const visited of inFlight(ids, AT_ONCE, visit, signal)) {
      own.push(...visited.own)
      yield* visited.children
    }
  }

  async #visit(level: Exclude<Level, 'instances'>, id: string, signal: AbortSignal): Promise<Visited> {
    const children = await this.#resources.children(level, id, signal)
    return { own: await this.#resources.attachments(level, id, signal), children }
  }

  async #ofSeries(id: string, finds: boolean, signal: AbortSignal): Promise<readonly Indexed[]> {
    const { own, children } = await this.#visit('series', id, signal)
    const known = finds ? await this.#resources.attachmentsOfSeries(id, signal) : new Map<string, readonly Indexed[]>()
    const all = [own, ...known.values()]
    const ask = (child: string, stop: AbortSignal) => this.#resources.attachments('instances', child, stop)
    const missing = children.filter(child => !known.has(child))
    for await (const attachments of inFlight(missing, AT_ONCE, ask, signal)) all.push(attachments)
    return all.flat()
  }
}
