/**
 * Reading ahead on a stage: an Orthanc, and a store that is far away, both played here. Their clock moves only with
 * reads.
 */
import { createHash, randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { deflateSync } from 'node:zlib'
import { instanceUid, makeImage } from '../../harness/dicom.ts'
import { type ReadAhead, type ReadAheadOptions, readAhead } from '../../src/ahead/read-ahead.ts'
import type { Attachment, StorageArea } from '../../src/area/area.ts'
import { type Content, collect, type Range, sourceOf } from '../../src/bytes.ts'
import { Fault, throwIfAborted } from '../../src/fault.ts'
import type { Json, Orthanc } from '../../src/orthanc.ts'
import { orthancId } from './fake-orthanc.ts'
import { never } from './store.suite.ts'

/** Resolves when `holds`; work that needs no time is done by then, or this fails. */
export async function progress(what: string, holds: () => boolean): Promise<void> {
  for (let turns = 0; turns < 20_000; turns++) {
    if (holds()) return
    await turn()
  }
  throw new Error(`waited in vain for ${what}`)
}

/** Everything that can go on without anybody's help has gone on. */
export async function rest(): Promise<void> {
  for (let turns = 0; turns < 200; turns++) await turn()
}

export interface StagedFile {
  readonly attachment: Attachment
  readonly header: Attachment
  /** As they are stored. */
  readonly bytes: Buffer
  readonly plainBytes: number
  /** SOPInstanceUID. */
  readonly instance: string
  readonly series: number
  /** Where it is in the series, for those who look at it. */
  readonly index: number
}

interface StageOptions {
  /** How many files each series has. */
  readonly series?: readonly number[]
  /** Pixels in a row, and rows: 32 make files of 2.7 KB. */
  readonly pixels?: number
  readonly memoryBytes?: number
  readonly connections?: number
  /** Whether the store has digests. */
  readonly verified?: boolean
  /** Orthanc's StorageCompression. */
  readonly compressed?: boolean
  /** Whether Orthanc tells everything of several files at once, as from 1.12.5 on. */
  readonly tellsAll?: boolean
  /** Milliseconds that the store takes. */
  readonly away?: number
  readonly ahead?: Partial<ReadAheadOptions>
}

export interface Asked {
  readonly uuid: string
  readonly range: Range | undefined
  readonly signal: AbortSignal
}

export class Stage implements Orthanc {
  readonly files: StagedFile[] = []
  readonly area: ReadAhead
  /** Reads that the store was asked for, and their bytes. */
  readonly asked: Asked[] = []
  bytes = 0
  /** Reads that the store answers at the moment. */
  underWay = 0
  mostUnderWay = 0
  mostHeld = 0
  /** Requests to Orthanc. */
  readonly requests: string[] = []
  readonly lines: string[] = []
  clock = 0
  /** Orthanc's answer, or undefined for its usual one. */
  answer: (uri: string) => Promise<Json | undefined> | undefined = () => undefined
  /** What the store gives in place of the right bytes. */
  given: (uuid: string, bytes: Buffer) => Buffer = (_, bytes) => bytes
  readonly #options: StageOptions
  readonly #stop = new AbortController()
  #running: Promise<void> = Promise.resolve()
  readonly #stored = new Map<string, Buffer>()
  readonly #waiting: (() => void)[] = []
  #open = true

  /** `begins`: Orthanc may be asked from the start on. */
  constructor(options: StageOptions = {}, begins = true) {
    this.#options = options
    const { series = [20], pixels = 32, memoryBytes = 64 * 1024 * 1024, connections = 25, away = 20 } = options
    for (const [number, count] of series.entries())
      for (let index = 1; index <= count; index++) {
        const seed = this.files.length + 1
        const plain = makeImage({ seed, rows: pixels, columns: pixels, series: number + 1 })
        const bytes = options.compressed ? Buffer.concat([sizeOf(plain), deflateSync(plain)]) : plain
        const attachment = { uuid: randomUUID(), type: 'dicom' } as const
        const header = { uuid: randomUUID(), type: 'dicom-until-pixel-data' } as const
        const about = { plainBytes: plain.byteLength, instance: instanceUid(seed), series: number + 1, index }
        this.files.push({ attachment, header, bytes, ...about })
        this.#stored.set(attachment.uuid, bytes)
        this.#stored.set(header.uuid, plain.subarray(0, 600))
      }
    this.area = readAhead(this.#store(away), {
      memoryBytes,
      connections,
      nearest: () => away,
      log: line => this.lines.push(line),
      now: () => this.clock,
      ...options.ahead,
    })
    if (begins) this.begin()
  }

  /** From now on Orthanc may be asked. */
  begin(): void {
    this.#running = this.area.run(this, this.#stop.signal)
  }

  file(at: number): StagedFile {
    return this.files[at] as StagedFile
  }

  /** As Orthanc reads: a file, or a part of it. */
  async read(at: number, range?: Range, signal = never): Promise<Buffer> {
    return await this.readAttachment(this.file(at).attachment, range, signal)
  }

  async readAttachment(attachment: Attachment, range?: Range, signal = never): Promise<Buffer> {
    return await this.area.deliver(attachment, range, collect, signal)
  }

  /** Orthanc's ids. */
  idOf(uuid: string): string {
    return orthancId(uuid)
  }

  seriesId(number: number): string {
    return orthancId(`series ${number}`)
  }

  async write(at: number): Promise<void> {
    await this.area.create(this.file(at).attachment, sourceOf(this.file(at).bytes), never)
  }

  async remove(at: number): Promise<void> {
    await this.area.remove(this.file(at).attachment, never)
  }

  /** From now on the store answers nothing. */
  hold(): void {
    this.#open = false
  }

  release(): void {
    this.#open = true
    for (const go of this.#waiting.splice(0)) go()
  }

  /** The numbers of the files that the store was asked for, in that order. */
  get order(): number[] {
    return this.asked.map(({ uuid }) => this.files.findIndex(file => file.attachment.uuid === uuid))
  }

  async end(): Promise<void> {
    this.#stop.abort(new Fault('Canceled', 'Orthanc is stopping'))
    await this.#running
  }

  async get(uri: string): Promise<Json | undefined> {
    this.requests.push(uri)
    await turn()
    const other = this.answer(uri)
    if (other !== undefined) return await other
    const [, level, id = '', what, name] = uri.split('/')
    if (level === 'series') return this.#series.filter(one => one.id === id).flatMap(one => one.files.map(listed))
    const file = this.files.find(one => idOf(one) === id)
    if (!file || what !== 'attachments') return undefined
    const attachment = name === 'dicom' ? file.attachment : file.header
    const bytes = this.#stored.get(attachment.uuid)
    return bytes && { Uuid: attachment.uuid, CompressedSize: bytes.byteLength, CompressedMD5: md5(bytes) }
  }

  async post(uri: string, body: Json): Promise<Json> {
    this.requests.push(`${uri} ${JSON.stringify(body)}`)
    await turn()
    const other = this.answer(uri)
    if (other !== undefined) return (await other) as Json
    if (uri === '/tools/find') return this.files.map(file => this.#found(file))
    return this.#series.filter(one => one.uid === body).map(({ id }) => ({ Type: 'Series', ID: id }))
  }

  async submit(): Promise<string> {
    throw new Error('no jobs here')
  }

  #found(file: StagedFile): Json {
    const { attachment, header } = file
    if (!this.#options.tellsAll) return idOf(file)
    const attachments = [attachment, header].flatMap(({ uuid }, i) => {
      const bytes = this.#stored.get(uuid)
      const about = bytes && { CompressedSize: bytes.byteLength, CompressedMD5: md5(bytes) }
      return about ? [{ Uuid: uuid, ContentType: i === 0 ? 1 : 3, ...about }] : []
    })
    return { ID: idOf(file), Attachments: attachments }
  }

  get #series() {
    return [...new Set(this.files.map(({ series }) => series))].map(number => ({
      uid: `2.25.8149003.2.${1000 + number}`,
      id: orthancId(`series ${number}`),
      files: this.files.filter(({ series }) => series === number),
    }))
  }

  #store(away: number): StorageArea {
    const { verified = true } = this.#options
    const read = async ({ uuid }: Attachment, range: Range | undefined, signal: AbortSignal): Promise<Content> => {
      this.asked.push({ uuid, range, signal })
      this.underWay++
      this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay)
      this.mostHeld = Math.max(this.mostHeld, this.area.held)
      if (!this.#open) await new Promise<void>(go => this.#waiting.push(go))
      await turn()
      this.underWay--
      throwIfAborted(signal)
      this.clock += away
      const stored = this.#stored.get(uuid)
      if (!stored) throw new Fault('NotFound', 'no such object')
      const bytes = this.given(uuid, stored).subarray(range?.start, range?.end)
      this.bytes += bytes.byteLength
      return { size: bytes.byteLength, body: sourceOf(bytes).open(), verified: verified && range === undefined }
    }
    return {
      name: 'stage',
      read,
      create: async ({ uuid }, source) =>
        void this.#stored.set(uuid, await collect({ size: source.size, body: source.open() })),
      deliver: async (attachment, range, use, signal) => await use(await read(attachment, range, signal)),
      remove: async ({ uuid }) => void this.#stored.delete(uuid),
    }
  }
}

const md5 = (bytes: Buffer) => createHash('md5').update(bytes).digest('hex')
const idOf = ({ attachment }: StagedFile) => orthancId(attachment.uuid)

function sizeOf(plain: Buffer): Buffer {
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(plain.byteLength))
  return size
}

function listed(file: StagedFile): Json {
  const { attachment, plainBytes, index, instance } = file
  const tags = { SOPInstanceUID: instance, InstanceNumber: String(index) }
  return { ID: idOf(file), FileUuid: attachment.uuid, FileSize: plainBytes, IndexInSeries: index, MainDicomTags: tags }
}

const stages: Stage[] = []

/** A stage that endStages() ends. */
export function staged(...options: ConstructorParameters<typeof Stage>): Stage {
  const stage = new Stage(...options)
  stages.push(stage)
  return stage
}

export async function endStages(): Promise<void> {
  for (const stage of stages.splice(0)) {
    stage.release()
    await stage.end()
  }
}

export const upTo = (end: number) => Array.from({ length: end }, (_, i) => i)
