/** The Orthanc that gets the files. No answer is trusted to have its shape. */
import type { Source } from '../bytes.ts'
import { Fault, isObject } from '../fault.ts'
import type { Json } from '../orthanc.ts'

/** What is asked of Orthanc; whoever answers. */
export interface Asked {
  readonly name: string
  get(uri: string, signal: AbortSignal): Promise<Json | undefined>
  post(uri: string, body: Json, signal: AbortSignal): Promise<Json>
  upload(file: Source, signal: AbortSignal): Promise<Json>
}

/** The DICOM file of an instance, as Orthanc has it. */
export interface Held {
  readonly size: number
  /** Undefined where Orthanc keeps none (`StoreMD5ForAttachments`). */
  readonly md5: string | undefined
}

export interface Answer {
  /** `Success`, `AlreadyStored`, `FilteredOut`, or what a newer Orthanc says. */
  readonly status: string
  readonly id: string | undefined
}

const IS_ID = /^[0-9a-f]{8}(-[0-9a-f]{8}){4}$/
const IS_MD5 = /^[0-9a-f]{32}$/i
const IS_UID = /^[0-9.]{1,64}$/

export class Receiver {
  readonly #orthanc: Asked
  /** Whether a file may take the place of another one that Orthanc has. An old Orthanc does not say it. */
  overwrites = true
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(orthanc: Asked) {
    this.#orthanc = orthanc
  }

  get name(): string {
    return this.#orthanc.name
  }

  /** Rejects when what answers is not Orthanc, or stores nothing. */
  async look(signal: AbortSignal): Promise<void> {
    const system = await this.#orthanc.get('/system', signal)
    if (!isObject(system) || typeof system['Version'] !== 'string' || !('DatabaseVersion' in system))
      throw new Fault('BadConfig', `${this.name} is not an Orthanc`, { remedy: 'Check the URL.' })
    if (system['ReadOnly'] === true) throw new Fault('BadConfig', `${this.name} is read-only`)
    this.overwrites = system['OverwriteInstances'] !== false
  }

  /** Where this plugin in that Orthanc puts files, for people; undefined where it has another plugin, or none. */
  async storesIn(signal: AbortSignal): Promise<string | undefined> {
    const status = await this.#orthanc.get('/cloud-storage/status', signal).catch(() => undefined)
    return isObject(status) && typeof status['Store'] === 'string' ? status['Store'] : undefined
  }

  /** How many instances it has; undefined where it does not say that. */
  async instances(signal: AbortSignal): Promise<number | undefined> {
    const statistics = await this.#orthanc.get('/statistics', signal).catch(() => undefined)
    const count = isObject(statistics) ? statistics['CountInstances'] : undefined
    return Number.isSafeInteger(count) ? Number(count) : undefined
  }

  /** What Orthanc has under this SOPInstanceUID, for any patient. */
  async heldUnder(instance: string, signal: AbortSignal): Promise<Held | undefined> {
    if (!IS_UID.test(instance)) return undefined
    const found = await this.#orthanc.post('/tools/lookup', instance, signal)
    if (!Array.isArray(found)) throw notUnderstood('POST /tools/lookup')
    for (const one of found) {
      if (!isObject(one) || one['Type'] !== 'Instance') continue
      const held = await this.held(String(one['ID']), signal)
      if (held) return held
    }
    return undefined
  }

  /** `id`: Orthanc's. */
  async held(id: string, signal: AbortSignal): Promise<Held | undefined> {
    const uri = `/instances/${id}/attachments/dicom/info`
    if (!IS_ID.test(id)) throw notUnderstood('an id')
    const info = await this.#orthanc.get(uri, signal)
    if (info === undefined) return undefined
    const { UncompressedSize: size, UncompressedMD5: md5 } = isObject(info) ? info : {}
    if (!Number.isSafeInteger(size)) throw notUnderstood(`GET ${uri}`)
    const known = typeof md5 === 'string' && IS_MD5.test(md5) ? md5.toLowerCase() : undefined
    return { size: Number(size), md5: known }
  }

  /** Files of one instance come one after the other: each must see what Orthanc has of those before it. */
  async inTurn<T>(instance: string | undefined, work: () => Promise<T>): Promise<T> {
    const name = instance ?? ''
    const before = this.#turns.get(name) ?? Promise.resolve()
    const mine = before.then(work)
    const settled = mine.catch(() => {})
    this.#turns.set(name, settled)
    try {
      return await mine
    } finally {
      if (this.#turns.get(name) === settled) this.#turns.delete(name)
    }
  }

  async upload(file: Source, signal: AbortSignal): Promise<Answer> {
    const answer = await this.#orthanc.upload(file, signal)
    if (!isObject(answer) || typeof answer['Status'] !== 'string') throw notUnderstood('POST /instances')
    const id = answer['ID']
    return { status: answer['Status'], id: typeof id === 'string' && IS_ID.test(id) ? id : undefined }
  }
}

function notUnderstood(question: string): Fault {
  return new Fault('Internal', `Orthanc's answer to ${question} is not understood`)
}
