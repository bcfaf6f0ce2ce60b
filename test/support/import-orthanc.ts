/** An Orthanc in memory that takes files, and keeps what it got whole. */
import { createHash } from 'node:crypto'
import type { Source } from '../../src/bytes.ts'
import { Fault } from '../../src/fault.ts'
import type { Asked } from '../../src/import/receiver.ts'
import { DicomWalk, elementsAt } from '../../src/import/walk.ts'

export interface Behaviour {
  overwrites?: boolean
  keepsMd5?: boolean
  /** Changes what it stores. */
  transcodes?: boolean
  /** SOPInstanceUIDs that a filter does not take. */
  filtered?: readonly string[]
  /** After so many uploads it is away. */
  uploads?: number
}

export class ImportOrthanc implements Asked {
  readonly name = 'Orthanc in memory'
  readonly files = new Map<string, Buffer>()
  /** Of all uploads, whole or not: the bytes that came. */
  readonly received: number[] = []
  readonly #behaviour: Behaviour
  #left: number

  constructor(behaviour: Behaviour = {}) {
    this.#behaviour = behaviour
    this.#left = behaviour.uploads ?? Number.POSITIVE_INFINITY
  }

  async get(uri: string) {
    const { overwrites, keepsMd5 = true } = this.#behaviour
    const told = overwrites === undefined ? {} : { OverwriteInstances: overwrites }
    if (uri === '/system') return { Version: '1.12.7', DatabaseVersion: 6, ...told }
    if (uri === '/statistics') return { CountInstances: this.files.size }
    const [, id = ''] = /^\/instances\/([^/]+)\/attachments\/dicom\/info$/.exec(uri) ?? []
    const file = [...this.files].find(([instance]) => idOf(instance) === id)?.[1]
    if (!file) return undefined
    return { UncompressedSize: file.byteLength, UncompressedMD5: keepsMd5 ? md5Of(file) : '' }
  }

  async post(_uri: string, body: unknown) {
    return this.files.has(String(body)) ? [{ Type: 'Instance', ID: idOf(String(body)) }] : []
  }

  async upload(source: Source) {
    if (this.#left-- <= 0) throw new Fault('Unavailable', 'no answer of Orthanc in memory')
    const chunks: Uint8Array[] = []
    const at = this.received.push(0) - 1
    for await (const chunk of source.open()) {
      chunks.push(chunk)
      this.received[at] = (this.received[at] ?? 0) + chunk.byteLength
    }
    const bytes = Buffer.concat(chunks)
    if (bytes.byteLength !== source.size) throw new Fault('Internal', 'the body has another size than it said')
    const instance = instanceIn(bytes)
    if (instance === undefined) throw new Fault('BadRequest', 'Orthanc answered POST /instances with HTTP 400')
    const { overwrites, transcodes, filtered = [] } = this.#behaviour
    if (filtered.includes(instance)) return { Status: 'FilteredOut' }
    const answer = { ID: idOf(instance), Status: 'Success' }
    if (this.files.has(instance) && !overwrites) return { ...answer, Status: 'AlreadyStored' }
    this.files.set(instance, transcodes ? Buffer.concat([bytes, Buffer.alloc(2)]) : bytes)
    return answer
  }
}

export const md5Of = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex')

const idOf = (instance: string) => (createHash('sha1').update(instance).digest('hex').match(/.{8}/g) ?? []).join('-')

/** As Orthanc does, it takes the beginning of an image for an instance. */
function instanceIn(bytes: Buffer): string | undefined {
  const begin = elementsAt(bytes.subarray(0, 132))
  if (begin === undefined) return undefined
  const walk = new DicomWalk(begin)
  walk.push(bytes)
  return walk.instance
}
