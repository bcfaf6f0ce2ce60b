/** The check of a store at start: once, repeated for some time, or in the background while Orthanc already works. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from './fault.ts'
import type { Logger } from './log.ts'
import type { CheckOptions, Store } from './stores/store.ts'

/** The store to check, and the log for what is found. */
export interface Asking {
  readonly store: Store
  readonly options: CheckOptions
  readonly log: Pick<Logger, 'warn' | 'error'>
}

/** The longest that one check takes: Orthanc must be able to report that a store does not answer. */
const ASK_MS = 60_000
/** The same when Orthanc can start without the store. */
const GLANCE_MS = 5_000
/** Extra time for the store's own message, which says more than "it does not answer". */
const WORDS_MS = 1_000
const LEAST_ASK_MS = 1_000
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 2_000
const LONGEST_LATER_PAUSE_MS = 30_000
/** How often the log says that we still wait. The plugin believes that an engine is dead if it is silent for longer. */
const SAY_EACH_MS = 10_000

/**
 * Resolves when the check succeeds. Repeats it for up to `waitMs` where that can help: there is no answer yet, or
 * the bucket does not exist yet. Rejects at once for a wrong setting or key.
 */
export async function untilReady({ store, options, log }: Asking, waitMs: number): Promise<void> {
  const end = performance.now() + waitMs
  const left = () => Math.max(0, end - performance.now())
  let last = await ask(store, options, ASK_MS)
  if (!last) return
  if (!canHelp(last) || waitMs === 0) throw last
  log.warn(`waiting up to ${waitMs / 1000} s for the store: ${last.describe()}`)
  let saidAt = performance.now()
  let pause = FIRST_PAUSE_MS
  do {
    await sleep(Math.min(pause, left()))
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
    const fault: Fault | undefined = await ask(store, options, Math.min(ASK_MS, Math.max(left(), LEAST_ASK_MS)))
    if (!fault) return void log.warn(`${store.name} answers now`)
    // A fault that only says that our own time is over says less than the one before it.
    if (fault.code !== 'Timeout' || left() > 0) last = fault
    if (performance.now() - saidAt < SAY_EACH_MS) continue
    saidAt = performance.now()
    log.warn(`still waiting, up to ${(left() / 1000).toFixed(0)} s more: ${last.describe()}`)
  } while (canHelp(last) && left() > 0)
  throw canHelp(last) ? last.with({}, `${last.message} (after waiting for ${waitMs / 1000} s)`) : last
}

/**
 * For an Orthanc that can start without the store. Rejects for a wrong setting or key, if that is known soon enough.
 * Resolves with a function that repeats the check once Orthanc has started; undefined = the check succeeded.
 */
export async function glance(
  { store, options, log }: Asking,
  glanceMs = GLANCE_MS,
): Promise<((signal: AbortSignal) => Promise<void>) | undefined> {
  const fault = await ask(store, options, glanceMs)
  if (!fault) return undefined
  if (!canHelp(fault)) throw fault
  log.warn(
    `Orthanc starts without its object store; the check is repeated until the store answers: ${fault.describe()}`,
  )
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

/** Ends in time also when a disk hangs in the proof that two places are apart, which no signal ends. */
async function ask(store: Store, options: CheckOptions, ms: number, signal?: AbortSignal): Promise<Fault | undefined> {
  const late = AbortSignal.timeout(Math.ceil(ms))
  const anySignal = signal ? AbortSignal.any([signal, late]) : late
  const silence = Promise.withResolvers<Fault>()
  const silent = new Fault('Timeout', 'it does not answer', { where: { verb: 'use', store: store.name } })
  let timer: NodeJS.Timeout | undefined
  const giveUp = () => {
    timer = setTimeout(() => silence.resolve(silent), WORDS_MS)
  }
  anySignal.addEventListener('abort', giveUp, { once: true })
  try {
    return await Promise.race([store.check(anySignal, options).then(() => undefined, Fault.from), silence.promise])
  } finally {
    anySignal.removeEventListener('abort', giveUp)
    clearTimeout(timer)
  }
}

/** Our own deadline counts as "no answer", whatever its `retryable` says. */
function canHelp({ retryable, code }: Fault): boolean {
  return retryable || code === 'Unavailable' || code === 'Timeout'
}
