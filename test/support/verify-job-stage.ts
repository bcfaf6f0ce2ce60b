/** A made-up site with an Orthanc that is played, for tests of the job `VerifyStorage`. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { Fault } from '../../src/fault.ts'
import type { Job, JsonObject, Orthanc, StepOutcome } from '../../src/orthanc.ts'
import { type VerifyJobOptions, verifyJobs } from '../../src/verify-job/job.ts'
import { requestOf, type VerifyRequest } from '../../src/verify-job/request.ts'
import { IndexedOrthanc } from './indexed-orthanc.ts'
import { makeSite, never, type Site, type StageOptions } from './verify-stage.ts'

const folder = mkdtempSync(join(tmpdir(), 'ocs-verify-job-'))
after(() => rmSync(folder, { recursive: true, force: true }))

export interface VerifyJobStage {
  readonly site: Site
  readonly orthanc: IndexedOrthanc
  /** That Orthanc, for one step: nothing may be asked when the step is over, and one question at a time. */
  lend(): { readonly orthanc: Orthanc; end(): void }
  /** Lines of the log, each with its level. */
  readonly log: string[]
  /** Where the scratch file is made. */
  readonly folder: string
  /** The jobs of an engine that has just started. */
  engine(more?: Partial<VerifyJobOptions>): ReturnType<typeof verifyJobs>
  step(job: Job, signal?: AbortSignal): Promise<StepOutcome>
  /** Steps until the job ends. */
  run(job: Job): Promise<StepOutcome>
  /** Steps until the job shows this phase. */
  runUntil(job: Job, phase: string): Promise<void>
}

/** Nothing that is under way delays a test, and everything too much is an orphan. */
export const at = (more: Partial<VerifyRequest> = {}) => requestOf({ OlderThan: '0', Settle: '0', ...more })

export async function stageOf(options: StageOptions = {}, version = '1.10.1'): Promise<VerifyJobStage> {
  const site = makeSite(options)
  const orthanc = new IndexedOrthanc(version)
  for (const name of ['a', 'b']) orthanc.addPatient(name, [2, 2, 3])
  for (const file of orthanc.rows()) await site.put(site.store, site.keyOf(file), Buffer.alloc(file.size, 'x'))
  const log: string[] = []
  const say = (level: string) => (line: string) => void log.push(`${level} ${line}`)

  const lend = () => {
    let over = false
    let busy = false
    const ask = async <T>(question: () => Promise<T>): Promise<T> => {
      if (over) throw new Fault('Internal', 'a question after the step')
      if (busy) throw new Fault('Internal', 'two questions at once')
      busy = true
      return await question().finally(() => {
        busy = false
      })
    }
    const lent: Orthanc = {
      get: uri => ask(() => orthanc.get(uri)),
      post: (uri, body) => ask(() => orthanc.post(uri, body)),
      submit: () => Promise.reject(new Fault('Internal', 'a step submits nothing')),
    }
    return {
      orthanc: lent,
      end: () => {
        over = true
      },
    }
  }
  const step = async (job: Job, signal = never) => {
    const lent = lend()
    return await job.step(lent.orthanc, signal).finally(lent.end)
  }

  return {
    ...{ site, orthanc, log, folder, lend, step },
    engine: more =>
      verifyJobs({
        ...{ places: site.places, keyIds: site.keyIds, concurrency: 4, folder, stepMs: 5 },
        promised: async () => () => false,
        log: { info: say('info'), warn: say('warn'), error: say('error') },
        policy: { maxRetries: 2, firstDelayMs: 1 },
        ...more,
      }),
    async run(job) {
      for (;;) {
        const outcome = await step(job)
        if (outcome !== 'continue') return outcome
      }
    },
    async runUntil(job, phase) {
      while (job.content()['Phase'] !== phase)
        if ((await step(job)) !== 'continue') throw new Error(`it has ended: ${JSON.stringify(job.content())}`)
    },
  }
}

export const countsOf = (job: Job) => job.content()['Found'] as JsonObject
/** For comparing: the kind and the key of each. */
export const namedIn = (job: Job) =>
  (job.content()['Findings'] as JsonObject[]).map(({ Kind, Key }) => `${Kind} ${Key}`).sort()
