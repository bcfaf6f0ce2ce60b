/** What Orthanc's REST API says of its resources and their attachments. No answer is trusted to have its shape. */
import { Fault, isObject } from '../fault.ts'
import type { Json, Orthanc } from '../orthanc.ts'
import { indexedOf } from './indexed.ts'
import type { Indexed } from './orthanc-index.ts'

/** What is asked of Orthanc; whoever answers. */
export type Asked = Pick<Orthanc, 'get' | 'post'>

export type Level = 'patients' | 'studies' | 'series' | 'instances'

const childrenOf = { patients: 'Studies', studies: 'Series', series: 'Instances' } as const

/** More attachments than this in one answer would not be faster. */
const PAGE = 1_000
const MOST_LOOKS = 4

const IS_ID = /^[0-9a-f]{8}(-[0-9a-f]{8}){4}$/
/** A site names its own kinds of attachments as it likes. */
const IS_NAME = /^(?!\.{1,2}$)[^/\p{Cc}]+$/u

export class Resources {
  readonly #orthanc: Asked

  constructor(orthanc: Asked) {
    this.#orthanc = orthanc
  }

  /** Whether `attachmentsOfSeries` can be asked. Rejects when what answers is not Orthanc, or hides patients. */
  async knowsFind(signal: AbortSignal): Promise<boolean> {
    const { Version: version, PatientLevelEnabled: patients } = await this.#system(signal)
    // Then /patients is answered with 404, and their own attachments cannot be asked for.
    if (patients === false)
      throw new Fault('BadConfig', 'Orthanc does not show its patients, so its index cannot be read to its end', {
        remedy: 'Set PatientLevelEnabled to true in its configuration while the index is read.',
      })
    const [, ...numbers] = /^(\d+)\.(\d+)\.(\d+)/.exec(String(version)) ?? []
    const [major = 0, minor = 0, patch = 0] = numbers.map(Number)
    return major * 1e6 + minor * 1e3 + patch >= 1_012_005
  }

  /**
   * One answer has all: a list in pages would lose what moves to an earlier page when something before it is removed,
   * and no Orthanc promises an order. It takes 50 bytes for each patient.
   */
  async patients(signal: AbortSignal): Promise<readonly string[]> {
    const answer = await this.#orthanc.get('/patients', signal)
    return idsIn(answer, '/patients')
  }

  /** Its ids on the next level. None when it is gone. */
  async children(level: keyof typeof childrenOf, id: string, signal: AbortSignal): Promise<readonly string[]> {
    const uri = `/${level}/${id}`
    return await this.#looked(uri, async () => {
      const found = await this.#orthanc.get(uri, signal)
      if (found !== undefined) return idsIn(isObject(found) ? found[childrenOf[level]] : undefined, uri)
      return (await this.#isGone(level, id, signal)) ? [] : undefined
    })
  }

  /** Of this resource itself. None when it is gone. */
  async attachments(level: Level, id: string, signal: AbortSignal): Promise<readonly Indexed[]> {
    const uri = `/${level}/${id}/attachments`
    const names = async () => {
      const answer = await this.#orthanc.get(uri, signal)
      return answer === undefined ? undefined : textsIn(answer, IS_NAME, uri)
    }
    return await this.#looked(uri, async () => {
      const listed = await names()
      const found: Indexed[] = []
      for (const name of listed ?? []) {
        const place = `${uri}/${encodeURIComponent(name)}/info`
        const info = await this.#orthanc.get(place, signal)
        if (info !== undefined) {
          found.push(attachmentIn(info, `GET ${place}`))
          continue
        }
        // The attachment alone may be gone, or the resource with it.
        const left = await names()
        if (left === undefined) return (await this.#isGone(level, id, signal)) ? found : undefined
        if (left.includes(name)) return undefined
      }
      return listed !== undefined || (await this.#isGone(level, id, signal)) ? found : undefined
    })
  }

  /**
   * Of the instances of a series, by their ids. What is missing here is not proven to be gone: Orthanc cuts the list
   * after `LimitFindInstances`, and its order may change between two pages. Only from Orthanc 1.12.5 on.
   */
  async attachmentsOfSeries(id: string, signal: AbortSignal): Promise<ReadonlyMap<string, readonly Indexed[]>> {
    const found = new Map<string, readonly Indexed[]>()
    for (let since = 0; ; since += PAGE) {
      const page = { Level: 'Instance', Query: {}, ParentSeries: id, ResponseContent: ['Attachments'] }
      const answer = await this.#find({ ...page, Since: since, Limit: PAGE }, signal)
      for (const one of answer) {
        const instance = isObject(one) ? one['ID'] : undefined
        const list = isObject(one) ? one['Attachments'] : undefined
        if (!isId(instance) || !Array.isArray(list)) throw notUnderstood('POST /tools/find')
        const attachments = list.map(item => attachmentIn(item as Json, 'POST /tools/find'))
        if (attachments.length > 0) found.set(instance, attachments) // no instance is without: it is asked itself
      }
      if (answer.length < PAGE) return found
    }
  }

  /** Some databases say 404 for a series that is gone, others give an empty list. */
  async #find(question: Json, signal: AbortSignal): Promise<readonly Json[]> {
    try {
      const answer = await this.#orthanc.post('/tools/find', question, signal)
      if (Array.isArray(answer)) return answer
    } catch (error) {
      if (error instanceof Fault && error.code === 'NotFound') return []
      throw error
    }
    throw notUnderstood('POST /tools/find')
  }

  /** One 404 may come from something else on the way, so it takes two, and Orthanc itself behind them. */
  async #isGone(level: Level, id: string, signal: AbortSignal): Promise<boolean> {
    for (const uri of [`/${level}/${id}`, `/${level}/${id}/attachments`])
      if ((await this.#orthanc.get(uri, signal)) !== undefined) return false
    await this.#system(signal)
    return true
  }

  /** `look` resolves to undefined when two answers do not fit together: it was removed, and then stored again. */
  async #looked<T>(uri: string, look: () => Promise<T | undefined>): Promise<T> {
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      const found = await look()
      if (found !== undefined) return found
    }
    throw new Fault('Unavailable', `Orthanc has ${uri}, but answers some questions about it with 404`, {
      remedy: 'Look for a proxy in front of Orthanc that answers in its place, and run the command again.',
      retryable: false,
    })
  }

  async #system(signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    const system = await this.#orthanc.get('/system', signal)
    if (isObject(system) && typeof system['Version'] === 'string' && 'DatabaseVersion' in system) return system
    throw new Fault('BadConfig', 'what answers there is not Orthanc', { remedy: 'Check the URL.' })
  }
}

const isId = (value: unknown): value is string => typeof value === 'string' && IS_ID.test(value)

function idsIn(answer: unknown, uri: string): readonly string[] {
  return textsIn(answer, IS_ID, uri)
}

function textsIn(answer: unknown, shape: RegExp, uri: string): readonly string[] {
  if (Array.isArray(answer) && answer.every(text => typeof text === 'string' && shape.test(text))) return answer
  throw notUnderstood(`GET ${uri}`)
}

function attachmentIn(answer: Json, asked: string): Indexed {
  const { Uuid, ContentType, CompressedSize, CompressedMD5 } = isObject(answer) ? answer : {}
  const attachment = indexedOf(Uuid, ContentType, CompressedSize, CompressedMD5)
  if (attachment) return attachment
  throw notUnderstood(asked)
}

const notUnderstood = (asked: string) => new Fault('Internal', `Orthanc's answer to ${asked} is not understood`)
