import type { HybridArea } from '../area/hybrid.ts'
import { Fault, isCode } from '../fault.ts'
import type { Job, JobKind, Orthanc, StepOutcome } from '../orthanc.ts'
import { begun, jobContent, KEPT_FAILURES, type MoveRequest, type MoveState, restore, serialize } from './state.ts'
import {
  type AskOrthanc,
  askForFile,
  askOf,
  everything,
  type KnownFile,
  levels,
  listed,
  type Visit,
  walk,
} from './walk.ts'

export interface MoveJobOptions {
  readonly area: HybridArea
  /** Files at a time, of each job. */
  readonly concurrency: number
  /** One line for each file that fails. */
  error(line: string): void
  /** How long a step lasts; Orthanc learns of progress, and the job of a wish to pause, between steps. */
  readonly stepMs?: number
}

export interface MoveJobs extends JobKind {
  create(request: MoveRequest): Job
}

/** Nothing but failures of the store for so long: it is gone, and the millionth time-out would tell nothing new. */
const GIVE_UP_AFTER = 200

/** The job type `MoveStorage`. */
export function moveJobs(options: MoveJobOptions): MoveJobs {
  return {
    type: 'MoveStorage',
    create: request => moveJob(begun(request), options),
    restore: state => moveJob(restore(state), options),
  }
}

/** What became of one file. */
type Outcome =
  | { readonly kind: 'moved' | 'there' | 'counted'; apply(state: MoveState): void }
  | { readonly kind: 'failed'; readonly fault: Fault }

interface Work {
  readonly visit: Visit
  readonly file: KnownFile
  outcome: Outcome | undefined
}

/** A resource on its way: its files, and the cursor to note when they are done. */
interface Entry {
  readonly visit: Visit
  readonly works: readonly Work[]
}

/**
 * Walks ahead of the moves by some files. Moves end in any order, but are counted in the order of the walk: so cursor and
 * counts fit together in every serialized state, and a job that goes on from one repeats at most the files under way,
 * which it then finds where they belong.
 */
function moveJob(initial: MoveState, { area, concurrency, error, stepMs = 1000 }: MoveJobOptions): Job {
  let state = initial
  let ask: AskOrthanc = () => Promise.reject(new Fault('Internal', 'no step is under way'))
  let walker: AsyncGenerator<Visit, undefined> | undefined
  let walked = false
  let abort = new AbortController()
  let queue: Entry[] = []
  let waiting: Work[] = []
  const running = new Set<Promise<void>>()
  let wake = () => {}
  let news = false
  let failuresInARow = 0

  function walkOn(): AsyncGenerator<Visit, undefined> {
    const asking: AskOrthanc = uri => ask(uri) // the generator outlives the step
    const { resources } = state.request
    const named = levels.flatMap(level => (resources?.[level] ?? []).map(id => [level, id] as const))
    const tops = resources ? listed(named, state.cursor.top) : everything(state.cursor, asking)
    return walk(tops, state.cursor, asking)
  }

  /** Forgets what is under way; the cursor knows where to go on. */
  async function drop(): Promise<void> {
    abort.abort(new Fault('Canceled', 'the job stops'))
    waiting = []
    await Promise.all(running)
    abort = new AbortController()
    queue = []
    walker = undefined
    walked = false
  }

  function pump(): void {
    while (running.size < concurrency) {
      const work = waiting.shift()
      if (!work) return
      const done = perform(work.file, abort.signal)
        .catch((reason): Outcome => ({ kind: 'failed', fault: Fault.from(reason) }))
        .then(outcome => {
          work.outcome = outcome
          running.delete(done)
          news = true
          pump()
          wake()
        })
      running.add(done)
    }
  }

  async function perform({ attachment, known }: KnownFile, signal: AbortSignal): Promise<Outcome> {
    const { target, keepSource, dryRun } = state.request
    if (dryRun) return await count(attachment, known.size, signal)
    const moved = await area.move(attachment, target, { keepSource, known }, signal)
    if (moved === 'missing') throw missing(attachment.uuid)
    const there = moved === 'already-there'
    return {
      kind: there ? 'there' : 'moved',
      apply: ({ results }) => add(there ? results.AlreadyThere : results.Moved, known.size),
    }
  }

  async function count(attachment: KnownFile['attachment'], size: number, signal: AbortSignal): Promise<Outcome> {
    const found = await area.locate(attachment, signal)
    if (!found['file-system'] && !found['object-storage']) throw missing(attachment.uuid)
    return {
      kind: 'counted',
      apply({ results }) {
        if (found['file-system']) add(results.OnFileSystem, size)
        if (found['object-storage']) add(results.OnObjectStorage, size)
      },
    }
  }

  /**
   * Counts the resources at the head of the queue that are done. Whatever must be asked for one is asked first, so that it is
   * counted as a whole, with its cursor, or not at all.
   */
  async function commit(): Promise<void> {
    news = false
    for (let entry = queue[0]; entry?.works.every(work => work.outcome); entry = queue[0]) {
      const counts: (() => void)[] = []
      for (const work of entry.works) counts.push(await settled(work))
      for (const count of counts) count()
      state.cursor = entry.visit.cursor
      state.progress = Math.max(state.progress, entry.visit.progress)
      queue.shift()
    }
  }

  async function settled({ visit, file, outcome }: Work): Promise<() => void> {
    if (outcome?.kind !== 'failed')
      return () => {
        failuresInARow = 0
        outcome?.apply(state)
      }
    // Deleted meanwhile, or overwritten: then it is not this job's any more.
    const still = await askForFile(visit.uri, file.name, ask)
    if (still?.attachment.uuid !== file.attachment.uuid) return () => {}
    return () => failed(`${visit.uri}/attachments/${file.name}`, file.attachment.uuid, outcome.fault)
  }

  function failed(where: string, uuid: string, fault: Fault): void {
    const { results } = state
    // A file that is lost or damaged says nothing about the next one.
    failuresInARow = isCode(fault, 'NotFound') || isCode(fault, 'Corrupt') ? 0 : failuresInARow + 1
    results.Failed++
    if (results.Failures.length >= KEPT_FAILURES) return
    const reason = fault.describe()
    results.Failures.push({ Attachment: where, Uuid: uuid, Reason: reason })
    error(`cannot move ${where}: ${reason}`)
  }

  async function fill(): Promise<void> {
    walker ??= walkOn()
    const { value: visit, done } = await walker.next()
    walked = done === true
    if (!visit) return
    const works = visit.files.map((file): Work => ({ visit, file, outcome: undefined }))
    queue.push({ visit, works })
    waiting.push(...works)
    pump()
  }

  async function step(orthanc: Orthanc, signal: AbortSignal): Promise<StepOutcome> {
    ask = askOf(orthanc, signal)
    const until = performance.now() + stepMs
    for (;;) {
      await commit()
      if (walked && queue.length === 0) {
        state.progress = 1
        return state.results.Failed === 0 ? 'success' : 'failure'
      }
      if (failuresInARow >= GIVE_UP_AFTER) {
        error(
          `the last ${GIVE_UP_AFTER} files could not be moved: the job gives up, resubmit it when the cause is gone`,
        )
        return 'failure'
      }
      const left = until - performance.now()
      if (left <= 0) return 'continue'
      if (!walked && waiting.length < 4 * concurrency && queue.length < MAX_QUEUE) await fill()
      else await wakeUp(left)
    }
  }

  /** Until a move has ended since the last commit(), or the time is over. */
  function wakeUp(ms: number): Promise<void> {
    if (news) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  return {
    content: () => jobContent(state),
    progress: () => state.progress,
    serialize: () => serialize(state),

    async step(orthanc, signal) {
      try {
        return await step(orthanc, signal)
      } catch (reason) {
        await commit().catch(() => {})
        await drop() // the walk is broken where a question failed; the next step begins it anew at the cursor
        throw reason
      }
    },

    async stop() {
      await drop()
    },

    reset() {
      state = begun(state.request)
    },
  }
}

/** Behind one huge file, so many resources may be done and not yet counted. */
const MAX_QUEUE = 10_000

function add(tally: { Files: number; Bytes: number }, bytes: number): void {
  tally.Files++
  tally.Bytes += bytes
}

function missing(uuid: string): Fault {
  return new Fault('NotFound', 'the file is neither on the file system nor in the object storage', {
    where: { verb: 'move', key: uuid },
    remedy: 'Orthanc knows it, but it is lost; look for it in a backup.',
  })
}
