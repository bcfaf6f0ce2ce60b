import { Fault } from '../fault.ts'
import type { Orthanc } from '../orthanc.ts'
import type { Conversation, Return } from './conversation.ts'
import { orthancDuring } from './upcalls.ts'

/**
 * Work that asks Orthanc when nobody has asked the engine, from Orthanc's start on: GET and POST, no jobs. It runs once
 * at a time. `signal` aborts when Orthanc stops, and when the connection breaks: then it must end, and it begins again
 * on the next connection. Once it has resolved or rejected by itself, it does not begin again. A rejection becomes one
 * line of the log. Requests wait for Orthanc's database, which Orthanc may hold while it waits for the storage area. So
 * nothing that the storage area does may wait for a request.
 */
export type Background = (orthanc: Orthanc, signal: AbortSignal) => Promise<void>

/** Of each work its last run, which may still be ending when the next connection is there. */
const runs = new WeakMap<Background, Promise<void>>()

/** The standing call, BACKGROUND. */
export async function performBackground(
  conversation: Conversation,
  work: Background,
  signal: AbortSignal,
): Promise<Return> {
  const run = after(runs.get(work), () => {
    signal.throwIfAborted()
    return work({ ...orthancDuring(conversation), submit }, signal)
  })
  runs.set(work, run)
  await run
  return {}
}

async function after(before: Promise<void> | undefined, work: () => Promise<void>): Promise<void> {
  await before?.catch(() => {}) // its own call has reported that
  await work()
}

/** A call submits one job, and this call has no end. */
async function submit(): Promise<string> {
  throw new Fault('Internal', 'a job is submitted during the request that asks for it')
}
