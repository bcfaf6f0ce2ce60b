/** Asking at start whether a store lets us in: once, for some time, or while Orthanc works already. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from './fault.ts'
import type { Logger } from './log.ts'
import type { CheckOptions, Store } from './stores/store.ts'

/** What is asked, and who is told. */
export interface Asking {
  readonly store: Store
  readonly options: CheckOptions
  readonly log: Pick<Logger, 'warn' | 'error'>
}

/** A store that does not answer must not keep Orthanc from saying so. */
const ASK_MS = 60_000
/** The same, where Orthanc can do without the store. */
const GLANCE_MS = 5_000
/** For its own words, which tell more than that it was silent. */
const WORDS_MS = 1_000
const LEAST_ASK_MS = 1_000
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 2_000
const LONGEST_LATER_PAUSE_MS = 30_000
/** Who waits wants to see that somebody does; the plugin takes a longer silence of its engine for its end. */
const SAY_EACH_MS = 10_000

/**
 * Resolves when the store lets us in. Asks again for up to `patienceMs` where that can help: nobody answers yet, or the
 * bucket is still to be made. A wrong setting or key rejects at once.
 */
export async function untilReady({ store, options, log }: Asking, patienceMs: number): Promise<void> {
  const end = performance.now() + patienceMs
  const left = () => Math.max(0, end - performance.now())
  let last = await ask(store, options, ASK_MS)
  if (!last) return
  if (!canHelp(last) || patienceMs === 0) throw last
  log.warn(`waiting for up to ${patienceMs / 1000} s until the store is there: ${last.describe()}`)
  let saidAt = performance.now()
  let pause = FIRST_PAUSE_MS
  do {
    await sleep(Math.min(pause, left()))
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
    const fault: Fault | undefined = await ask(store, options, Math.min(ASK_MS, Math.max(left(), LEAST_ASK_MS)))
    if (!fault) return void log.warn(`${store.name} answers now`)
    // One that only says that our own time is over tells less than the one before it.
    if (fault.code !== 'Timeout' || left() > 0) last = fault
    if (performance.now() - saidAt < SAY_EACH_MS) continue
    saidAt = performance.now()
    log.warn(`still waiting, for up to ${(left() / 1000).toFixed(0)} s more: ${last.describe()}`)
  } while (canHelp(last) && left() > 0)
  throw canHelp(last) ? last.with({}, `${last.message} (asked again for ${patienceMs / 1000} s)`) : last
}

/**
 * For an Orthanc that can do without the store for a while. Rejects for a wrong setting or key, as far as that is known soon.
 * Resolves with what goes on asking, once Orthanc has started; undefined = the store lets us in.
 */
export async function glance(
  { store, options, log }: Asking,
  glanceMs = GLANCE_MS,
): Promise<((signal: AbortSignal) => Promise<void>) | undefined> {
  const fault = await ask(store, options, glanceMs)
  if (!fault) return undefined
  if (!canHelp(fault)) throw fault
  log.warn(`Orthanc starts without its object store, which is asked again until it answers: ${fault.describe()}`)
  return signal => askUntilKnown({ store, options, log }, signal)
}

async function askUntilKnown({ store, options, log }: Asking, signal: AbortSignal): Promise<void> {
  for (let pause = FIRST_PAUSE_MS; !signal.aborted; pause = Math.min(2 * pause, LONGEST_LATER_PAUSE_MS)) {
    await sleep(pause, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    const fault = await ask(store, options, ASK_MS, signal)
    if (!fault) return void log.warn(`${store.name} answers now`)
    if (!canHelp(fault)) return signal.aborted ? undefined : void log.error(fault.describe())
  }
}

/** Also in time when the store is a disk that hangs: no signal ends that. */
async function ask(store: Store, options: CheckOptions, ms: number, signal?: AbortSignal): Promise<Fault | undefined> {
  const late = AbortSignal.timeout(Math.ceil(ms))
  const either = signal ? AbortSignal.any([signal, late]) : late
  const silence = Promise.withResolvers<Fault>()
  const silent = new Fault('Timeout', 'it does not answer', { where: { verb: 'use', store: store.name } })
  let timer: NodeJS.Timeout | undefined
  const giveUp = () => {
    timer = setTimeout(() => silence.resolve(silent), WORDS_MS)
  }
  either.addEventListener('abort', giveUp, { once: true })
  try {
    return await Promise.race([store.check(either, options).then(() => undefined, Fault.from), silence.promise])
  } finally {
    either.removeEventListener('abort', giveUp)
    clearTimeout(timer)
  }
}

/** Our own deadline counts as silence, however it is marked. */
function canHelp({ retryable, code }: Fault): boolean {
  return retryable || code === 'Unavailable' || code === 'Timeout'
}
