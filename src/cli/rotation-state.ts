/**
 * The file of `rotate-keys --state`. Losing it costs time, never an object: see src/rotate/rotation.ts. It holds names
 * of objects, which are random, and counts; nothing secret.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Fault, isErrno, isObject } from '../fault.ts'
import type { Remembered } from '../rotate/rotation.ts'
import { fileFault } from './file-fault.ts'

const FORMAT = 1

/** undefined = there is none yet. `work`: what this run does, in words. The state of another work is refused. */
export function readState(file: string, work: string): Remembered | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return undefined
    throw fileFault('read', file, cause)
  }
  const state = parsed(text)
  if (!state) throw refused(file, 'it was not written by rotate-keys')
  if (state.work !== work) throw refused(file, `it is about "${state.work}", this run about "${work}"`)
  return state.remembered
}

/** Whole or not at all: a kill in the middle, or a full disk, leaves the state before. */
export function writeState(file: string, work: string, { after = null, tally, failed }: Nullable): void {
  const temporary = `${file}.${process.pid}.tmp`
  try {
    const handle = openSync(temporary, 'w', 0o600)
    try {
      writeFileSync(handle, `${JSON.stringify({ format: FORMAT, work, after, failed, tally }, undefined, 1)}\n`)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    renameSync(temporary, file)
  } catch (cause) {
    rmSync(temporary, { force: true })
    const fault = fileFault('write', file, cause)
    const calm = 'No object is lost by that, but a later run may have to look at everything again.'
    throw fault.with({ remedy: `${fault.remedy} ${calm}`.trim() })
  }
}

export function removeState(file: string): void {
  rmSync(file, { force: true })
}

type Nullable = Omit<Remembered, 'after'> & { readonly after?: string | null | undefined }

function parsed(text: string): { work: string; remembered: Remembered } | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isObject(value) || value['format'] !== FORMAT) return undefined
  const { work, after, failed, tally } = value
  if (typeof work !== 'string' || !(after === null || typeof after === 'string')) return undefined
  if (!Array.isArray(failed) || !failed.every(key => typeof key === 'string') || !isTally(tally)) return undefined
  return { work, remembered: { after: after ?? undefined, tally, failed } }
}

function isTally(value: unknown): value is Remembered['tally'] {
  if (!isObject(value) || !isObject(value['keys'])) return false
  const { keys, ...counts } = value
  const names = ['plain', 'moved', 'movedBytes', 'vanished']
  const figures = [...Object.values(keys as object), ...names.map(name => counts[name])]
  const ids = Object.keys(keys as object)
  return figures.every(count => Number.isSafeInteger(count) && count >= 0) && ids.every(id => /^\d{1,10}$/.test(id))
}

function refused(file: string, why: string): Fault {
  return new Fault('BadConfig', `${file} is not used: ${why}`, {
    remedy: 'Name another file, or remove this one to begin from the start.',
  })
}
