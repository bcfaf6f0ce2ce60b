import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { Fault } from '../fault.ts'
import { keyIdOf, OVERHEAD_BYTES } from '../seal/a1.ts'
import { isDicom, PEEK_BYTES } from '../seal/detect.ts'
import { fileFault } from './file-fault.ts'
import { fail, say, sayJson } from './terminal.ts'

interface Report {
  readonly file: string
  /** `damaged`: it begins like a sealed object but is too short to be one. */
  readonly kind: 'sealed' | 'plain' | 'damaged'
  readonly version?: 'A1'
  readonly keyId?: number
  /** Bytes of the file. */
  readonly size: number
  /** Bytes of what is sealed in it. */
  readonly plainSize?: number
  readonly dicom?: true
}

/** Needs no key, so it reports what a file says of itself, not whether that is true. */
export function inspect(files: readonly string[], { json }: { json?: true }): void {
  const reports: Report[] = []
  for (const file of files)
    try {
      const report = reportOf(file)
      reports.push(report)
      if (!json) say(sentence(report))
    } catch (error) {
      fail(error)
    }
  if (json) sayJson(reports)
}

function reportOf(file: string): Report {
  const { head, size } = read(file)
  const keyId = keyIdOf(head)
  const dicom = isDicom(head)
  if (keyId === undefined || dicom) return { file, kind: 'plain', size, ...(dicom ? { dicom } : {}) }
  if (size < OVERHEAD_BYTES) return { file, kind: 'damaged', version: 'A1', keyId, size }
  return { file, kind: 'sealed', version: 'A1', keyId, size, plainSize: size - OVERHEAD_BYTES }
}

function sentence({ file, kind, keyId, size, plainSize, dicom }: Report): string {
  if (kind === 'sealed')
    return `${file}: encrypted, format A1, master key ${keyId}, ${size} bytes, ${plainSize} when decrypted`
  if (kind === 'plain') return `${file}: not encrypted${dicom ? ', a DICOM file' : ''}, ${size} bytes`
  return `${file}: damaged, begins like a file encrypted under master key ${keyId}, but has only ${size} bytes`
}

/** The first bytes and the size, whatever the size. */
function read(file: string): { head: Buffer; size: number } {
  let handle: number | undefined
  try {
    handle = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK) // does not wait for the writer of a pipe
    const stats = fstatSync(handle)
    if (!stats.isFile()) throw new Fault('BadRequest', `cannot read ${file}: it is not a file`)
    const head = Buffer.alloc(PEEK_BYTES)
    return { head: head.subarray(0, readSync(handle, head, 0, PEEK_BYTES, 0)), size: stats.size }
  } catch (cause) {
    throw fileFault('read', file, cause)
  } finally {
    if (handle !== undefined) closeSync(handle)
  }
}
