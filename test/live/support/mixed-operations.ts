/** Different operations on a real Orthanc, all at once, and how each of them ended. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent } from 'undici'
import { type ImageOptions, instanceUid, makeImage } from '../../../harness/dicom.ts'
import type { OrthancProcess } from '../../../harness/orthanc.ts'
import { sha256 } from '../../support/sha256.ts'

export interface StoredImage {
  readonly seed: number
  readonly hash: string
  /** Orthanc's id. */
  readonly id: string
  /** Of its file. */
  readonly uuid: string
  /** Whether it went up in parts. */
  readonly inParts: boolean
}

export type Operation = 'upload' | 'read' | 'tags' | 'remove' | 'read absent'

/** One operation that has ended. */
export interface OperationOutcome {
  readonly verb: Operation
  readonly seed: number
  /** Of the file, where it was known before. */
  readonly uuid: string
  /** Of Orthanc's answer; 0 = there was none in time. */
  readonly status: number
  /** Whether what was read went up in parts. */
  readonly inParts?: boolean
  /** A success with a wrong content: what was wrong. */
  readonly wrong?: string
}

interface MixedOptions {
  readonly operations: number
  /** Bytes of an image that goes up in parts. */
  readonly large: number
  /** How long an operation may take at most. */
  readonly deadlineMs: number
}

const noise = (() => {
  let bytes: Buffer = Buffer.alloc(0)
  return (length: number, { seed }: ImageOptions) => {
    if (bytes.length < length)
      bytes = makeImage({ seed: 1, rows: 1024, columns: Math.ceil(length / 2048) }).subarray(-length)
    const pixels = Buffer.from(bytes.subarray(0, length))
    pixels.writeUInt32LE(seed)
    return pixels
  }
})()

let seeds = 1000

/** What is stored before the network turns bad, and the operations while it is. */
export class MixedOperations {
  /** Images that stay, images that will be removed, images whose object is gone. */
  readonly kept: StoredImage[] = []
  readonly doomed: StoredImage[] = []
  readonly lost: StoredImage[] = []
  readonly #orthanc: OrthancProcess
  readonly #options: MixedOptions
  readonly #agent = new Agent({ connections: 256, headersTimeout: 0, bodyTimeout: 0 })

  constructor(orthanc: OrthancProcess, options: MixedOptions) {
    this.#orthanc = orthanc
    this.#options = options
  }

  /** Uploads what the operations need. `gone`: removes an object without Orthanc. */
  async prepare(gone: (uuid: string) => Promise<void>): Promise<void> {
    const { operations, large } = this.#options
    const small = (into: StoredImage[], count: number) =>
      Array.from({ length: count }, (_, i) => [into, sizeOf(i)] as const)
    const wanted = [
      ...small(this.kept, Math.ceil(operations / 8)),
      [this.kept, large] as const,
      ...small(this.doomed, Math.ceil(operations / 8)),
      ...small(this.lost, 2),
    ]
    // Two at a time: on a slow machine, more than that can take an emulator longer than RequestTimeout.
    for (let at = 0; at < wanted.length; at += 2)
      await Promise.all(wanted.slice(at, at + 2).map(async ([into, bytes]) => into.push(await this.#stored(bytes))))
    for (const { uuid } of this.lost) await gone(uuid)
  }

  /** All of them at once; resolves when each has ended. */
  async run(random: () => number): Promise<readonly OperationOutcome[]> {
    const { operations, large } = this.#options
    const doomed = [...this.doomed]
    const any = (images: readonly StoredImage[]) => images[Math.floor(random() * images.length)] as StoredImage
    const work = Array.from({ length: operations }, (_, i) => {
      if (i < Math.max(1, operations / 100)) return this.#upload(large)
      const kind = random()
      if (kind < 0.3) return this.#upload(sizeOf(Math.floor(random() * 10)))
      if (kind < 0.45) return this.#tags(any(this.kept))
      if (kind < 0.55) {
        const image = doomed.pop()
        if (image) return this.#remove(image)
      }
      return kind < 0.63 ? this.#readAbsent(any(this.lost)) : this.#read(any(this.kept))
    })
    return Promise.all(work)
  }

  async end(): Promise<void> {
    await this.#agent.destroy()
  }

  async #stored(bytes: number): Promise<StoredImage> {
    const { seed, file } = imageOf(bytes)
    const { ID: id } = await this.#orthanc.postJson('/instances', file)
    const { Uuid: uuid } = await this.#orthanc.getJson(`/instances/${id}/attachments/dicom/info`)
    return { seed, hash: sha256(file), id, uuid, inParts: bytes === this.#options.large }
  }

  async #ask(method: 'GET' | 'POST' | 'DELETE', path: string, body?: Uint8Array) {
    const work = async () => {
      const { statusCode: status, body: answer } = await this.#agent.request({
        origin: this.#orthanc.url,
        path,
        method,
        body: body ?? null,
      })
      return { status, body: Buffer.from(await answer.arrayBuffer()) }
    }
    const late = new AbortController()
    const none = sleep(this.#options.deadlineMs, { status: 0, body: Buffer.alloc(0) }, { signal: late.signal })
    return await Promise.race([work(), none]).finally(() => {
      none.catch(() => {})
      late.abort()
    })
  }

  async #upload(bytes: number): Promise<OperationOutcome> {
    const { seed, file } = imageOf(bytes)
    const { status, body } = await this.#ask('POST', '/instances', file)
    const stored = status === 200 && JSON.parse(body.toString()).Status === 'Success'
    const wrong = status === 200 && !stored ? { wrong: body.toString() } : {}
    if (stored) this.uploaded.set(seed, sha256(file))
    return { verb: 'upload', seed, uuid: '', status, ...wrong }
  }

  /** The hash of each image that Orthanc has acknowledged since, by its seed. */
  readonly uploaded = new Map<number, string>()

  async #read({ seed, id, uuid, hash, inParts }: StoredImage): Promise<OperationOutcome> {
    const { status, body } = await this.#ask('GET', `/instances/${id}/file`)
    const wrong = status === 200 && sha256(body) !== hash ? { wrong: `${body.byteLength} other bytes` } : {}
    return { verb: 'read', seed, uuid, status, inParts, ...wrong }
  }

  async #tags({ seed, id, uuid }: StoredImage): Promise<OperationOutcome> {
    const { status, body } = await this.#ask('GET', `/instances/${id}/tags?simplify`)
    const right = status !== 200 || JSON.parse(body.toString()).SOPInstanceUID === instanceUid(seed)
    return { verb: 'tags', seed, uuid, status, ...(right ? {} : { wrong: 'other tags' }) }
  }

  async #remove(image: StoredImage): Promise<OperationOutcome> {
    const { status } = await this.#ask('DELETE', `/instances/${image.id}`)
    if (status === 200) this.doomed.splice(this.doomed.indexOf(image), 1)
    return { verb: 'remove', seed: image.seed, uuid: image.uuid, status }
  }

  async #readAbsent({ seed, id, uuid }: StoredImage): Promise<OperationOutcome> {
    const { status } = await this.#ask('GET', `/instances/${id}/file`)
    return { verb: 'read absent', seed, uuid, status, ...(status === 200 ? { wrong: 'there is none' } : {}) }
  }
}

/** Mostly small ones, some of 220 KB, few of 2 MB. */
function sizeOf(i: number): number {
  return i % 10 === 9 ? 2_000_000 : i % 10 >= 5 ? 220_000 : 8_000
}

function imageOf(bytes: number): { readonly seed: number; readonly file: Buffer } {
  const seed = seeds++
  const columns = bytes < 100_000 ? 64 : bytes < 1_000_000 ? 332 : 1024
  const rows = Math.ceil(bytes / (columns * 2))
  return { seed, file: makeImage({ seed, rows, columns, study: seed }, image => noise(rows * columns * 2, image)) }
}
