/** One object of a store, given to Orthanc. */
import type { Again } from '../area/area.ts'
import { type Bytes, type Content, collect, discard, type Source, sourceOf } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import { md5Of, newDigest } from '../seal/digest.ts'
import type { Keyring } from '../seal/keyring.ts'
import type { Store } from '../stores/store.ts'
import { type DicomFile, type Named, openDicom } from './open.ts'
import type { Answer, Held, Receiver } from './receiver.ts'
import type { Outcome, Result } from './tally.ts'
import { DicomWalk } from './walk.ts'

/** What is not larger is read once, into memory, before anything of it is sent. */
const HELD_BYTES = 8 * 1024 * 1024
/** SOPInstanceUID comes before so many bytes. */
const HEAD_BYTES = 1024 * 1024

export interface Found extends Named {
  readonly key: string
  /** The name says that this is the DICOM file that Orthanc had: then it is not the beginning of one. */
  readonly isDicom: boolean
}

export interface FileOptions {
  readonly store: Store
  readonly keys: Keyring
  /** Undefined: a dry run. */
  readonly receiver: Receiver | undefined
  readonly again: Again
}

interface Prepared {
  readonly size: number
  /** Empty in a dry run. */
  readonly source: Source
  /** SOPInstanceUID. */
  readonly instance: string | undefined
}

/** What was sent. */
interface Sent {
  readonly md5: string
  readonly size: number
}

export class FileImport {
  readonly #options: FileOptions
  readonly #found: Found
  readonly #signal: AbortSignal
  /** What went wrong with the store while a body was sent: not with Orthanc. */
  #broken: unknown
  #sent: Sent | undefined
  /** Why the file is not sent, once that is known. */
  #verdict: { readonly result: Result; readonly why: string } | undefined

  constructor(options: FileOptions, found: Found, signal: AbortSignal) {
    this.#options = options
    this.#found = found
    this.#signal = signal
  }

  /** Rejects when nothing is known of it. A fault with `where.verb` "import" is Orthanc's, all others the store's. */
  async run(): Promise<Outcome> {
    const { again, receiver } = this.#options
    try {
      const file = await again(() => this.#prepared(), this.#signal)
      if (!file) return { result: this.#found.ours ? 'derived' : 'other', bytes: 0 }
      if (!receiver) return { result: 'dicom', bytes: file.size }
      if (!receiver.overwrites) return await this.#give(receiver, file.source)
      return await receiver.inTurn(file.instance, () => this.#giveIfAbsent(receiver, file))
    } catch (error) {
      if (this.#verdict) return this.#outcome(this.#verdict.result, { why: this.#verdict.why })
      const isStores = isCode(error, 'Corrupt') && error.where.verb !== 'import'
      if (isStores) return this.#outcome('damaged', { why: error.message })
      throw error
    }
  }

  /** Undefined: no DICOM, or what Orthanc has made of an image. */
  async #prepared(): Promise<Prepared | undefined> {
    const { receiver } = this.#options
    this.#verdict = undefined
    const file = await this.#open()
    if (!file) {
      if (this.#found.isDicom) throw this.#stop('damaged', 'its name says that it is DICOM, and its bytes do not')
      return undefined
    }
    const { size } = file
    const walk = new DicomWalk(file.elementsBegin)
    if (receiver && size > HELD_BYTES) {
      await untilInstance(file, walk)
      return { size, source: { size, open: () => this.#stream(size) }, instance: walk.instance }
    }
    let source = sourceOf(Buffer.alloc(0))
    if (receiver) {
      const bytes = await collect(file)
      walk.push(bytes)
      source = sourceOf(bytes)
      this.#sent = { md5: md5Of(bytes), size }
    } else for await (const chunk of file.body) walk.push(chunk)
    return this.#mayPass(walk) ? { size, source, instance: walk.instance } : undefined
  }

  async #open(): Promise<DicomFile | undefined> {
    const { store, keys } = this.#options
    const get = (): Promise<Content> => store.get(this.#found.key, undefined, this.#signal)
    return await openDicom(get, this.#found, keys)
  }

  /**
   * A large file, as it is read. Its last piece goes out only when all of it was verified and is whole. Before that,
   * Orthanc has fewer bytes than it was told, and drops them.
   */
  async *#stream(size: number): Bytes {
    this.#verdict = undefined
    try {
      const file = await this.#open()
      if (file?.size !== size) throw new Fault('Corrupt', 'the object changed while it was read')
      const walk = new DicomWalk(file.elementsBegin)
      const md5 = newDigest('md5')
      let last: Uint8Array | undefined
      for await (const chunk of file.body) {
        walk.push(chunk)
        md5.update(chunk)
        if (last) yield last
        last = chunk
      }
      if (!this.#mayPass(walk)) throw this.#stop('unclear', BEGINNING)
      this.#sent = { md5: md5.hex(), size }
      if (last) yield last
    } catch (error) {
      this.#broken = error
      throw error
    }
  }

  /** False: the beginning of an image, which Orthanc keeps as a file of its own. */
  #mayPass(walk: DicomWalk): boolean {
    const { ours, isDicom } = this.#found
    const ending = walk.end()
    if (ending === 'whole') return true
    if (ending === 'cut') throw this.#stop('damaged', 'it ends in the middle of its data set')
    if (isDicom) return true
    if (ending === 'no pixel data' && ours) return false
    throw this.#stop('unclear', ending === 'no pixel data' ? BEGINNING : 'its data set is not as the standard says')
  }

  /** Where Orthanc may overwrite, it is asked first. */
  async #giveIfAbsent(receiver: Receiver, { source, instance }: Prepared): Promise<Outcome> {
    if (!instance) throw this.#stop('unclear', 'it has no SOPInstanceUID, and Orthanc may overwrite instances')
    const held = await this.#ask(() => receiver.heldUnder(instance, this.#signal))
    if (!held) return await this.#give(receiver, source)
    if (!this.#sent) await this.#options.again(() => readThrough(source), this.#signal) // then its MD5 is known
    return this.#compared('AlreadyStored', held)
  }

  async #give(receiver: Receiver, source: Source): Promise<Outcome> {
    let answer: Answer
    try {
      answer = await this.#ask(() => receiver.upload(source, this.#signal))
    } catch (error) {
      if (!isCode(error, 'BadRequest')) throw error
      return this.#outcome('refused', { why: error.message })
    }
    const { status, id } = answer
    if (status === 'FilteredOut') return this.#outcome('filtered', { why: 'a filter of Orthanc does not take it' })
    if ((status !== 'Success' && status !== 'AlreadyStored') || id === undefined)
      return this.#outcome('refused', { why: `Orthanc says ${status}` })
    const held = await this.#ask(() => receiver.held(id, this.#signal))
    if (!held)
      throw new Fault('Internal', 'Orthanc has stored the instance, and does not have it any more', {
        where: { verb: 'import' },
        remedy: 'Look at MaximumStorageSize and MaximumPatientCount, and at what removes from this Orthanc.',
      })
    return this.#compared(status, held)
  }

  #compared(status: 'Success' | 'AlreadyStored', held: Held): Outcome {
    const sent = this.#sent
    if (!sent) throw new Fault('Internal', 'nothing is known of what was sent')
    const isSame = held.size === sent.size && (held.md5 === undefined || held.md5 === sent.md5)
    const both = { md5: sent.md5, size: sent.size, inOrthanc: { md5: held.md5 ?? null, size: held.size } }
    if (!isSame) return this.#outcome(status === 'Success' ? 'changed' : 'different', both)
    const result = status === 'Success' ? 'imported' : 'present'
    return { result, bytes: sent.size, ...(held.md5 === undefined && { bySize: true }) }
  }

  #stop(result: Result, why: string): Fault {
    this.#verdict = { result, why }
    return new Fault('Corrupt', why, { retryable: false })
  }

  #outcome(result: Result, more: object): Outcome {
    const { store } = this.#options
    return { result, bytes: 0, line: { kind: result, store: store.name, key: this.#found.key, ...more } }
  }

  /** Faults of Orthanc say so. */
  async #ask<T>(question: () => Promise<T>): Promise<T> {
    this.#broken = undefined
    try {
      return await question()
    } catch (error) {
      if (this.#broken !== undefined) throw this.#broken
      throw Fault.from(error, { verb: 'import' })
    }
  }
}

const BEGINNING = 'it describes pixels and has none, like the beginning of an image that Orthanc keeps beside it'

async function untilInstance(file: DicomFile, walk: DicomWalk): Promise<void> {
  let seen = 0
  for await (const chunk of file.body) {
    walk.push(chunk)
    seen += chunk.byteLength
    if (walk.instance !== undefined || seen >= HEAD_BYTES) return // which ends the body
  }
  await discard(file)
}

async function readThrough(source: Source): Promise<void> {
  for await (const _ of source.open());
}
