/** An engine for services.test.ts: the real wire, a storage area in memory, and the smallest routes and job. */
import type { StorageArea } from '../../../src/area/area.ts'
import { checkedContent, collectSource, sourceOf } from '../../../src/bytes.ts'
import { Fault } from '../../../src/fault.ts'
import type { Job, JobKind, Json, JsonObject, Orthanc } from '../../../src/orthanc.ts'
import type { Background } from '../../../src/wire/background.ts'
import { Jobs } from '../../../src/wire/jobs.ts'
import { json, jsonOf, type Route } from '../../../src/wire/router.ts'
import { Server } from '../../../src/wire/server.ts'
import type { Services } from '../../../src/wire/service-calls.ts'

const files = new Map<string, Buffer>()

const area: StorageArea = {
  name: 'memory',
  async create({ uuid }, body) {
    files.set(uuid, await collectSource(body))
  },
  async read({ uuid }, range) {
    const file = files.get(uuid)
    if (!file) throw new Fault('NotFound', 'no such file')
    const { start, end } = range ?? { start: 0, end: file.byteLength }
    return checkedContent(end - start, sourceOf(file.subarray(start, end)).open())
  },
  async deliver(attachment, range, use, signal) {
    return await use(await this.read(attachment, range, signal))
  },
  async remove({ uuid }) {
    files.delete(uuid)
  },
}

/** Whether jobs may go on beyond their `Hold`. Each engine begins with false. */
let released = false

/** Counts to `To`, but not beyond `Hold` before it is released. Logs where it stopped. */
function countJob(state: JsonObject): Job {
  let count = Number(state['Count'] ?? 0)
  const to = Number(state['To'])
  const pid = process.pid
  return {
    content: () => ({ Count: count, To: to, Engine: pid }),
    progress: () => count / to,
    serialize: () => ({ ...state, Count: count }),
    async step(orthanc, signal) {
      const system = (await orthanc.get('/system', signal)) as { Name: string } // a job may ask Orthanc
      if (system.Name !== 'Orthanc') throw new Error('that is not Orthanc')
      if (count === state['FailAt']) return 'failure'
      await new Promise(resolve => setTimeout(resolve, 10))
      if (count !== state['Hold'] || released) count++
      return count < to ? 'continue' : 'success'
    },
    async stop() {
      server.log(1, `job to ${to} stopped at ${count}`)
    },
    reset() {
      count = 0
    },
  }
}

const kind: JobKind = {
  type: 'Count',
  restore(state) {
    if (typeof state['To'] !== 'number') throw new Fault('BadRequest', 'this is no counting job')
    return countJob(state)
  },
}

/** What waits for the standing call: work that is done there, with Orthanc at hand. */
let aside = Promise.withResolvers<(orthanc: Orthanc, signal: AbortSignal) => Promise<void>>()
/** How many requests the storm has made, once it was let loose. */
let storm = -1

const background: Background = async (orthanc, signal) => {
  const over = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  over.catch(() => {})
  for (;;) {
    const work = await Promise.race([aside.promise, over])
    aside = Promise.withResolvers()
    await work(orthanc, signal)
  }
}

/** Asks in the standing call, and waits for the answers here. */
function askAside(ask: (orthanc: Orthanc, signal: AbortSignal) => Promise<Json>): Promise<Json> {
  return new Promise((resolve, reject) =>
    aside.resolve((orthanc, signal) => ask(orthanc, signal).then(resolve, reject)),
  )
}

const routes: Route[] = [
  {
    pattern: '/tiny/aside',
    methods: {
      GET: async () => json({ Engine: process.pid, Storm: storm }),
      POST: async request => {
        const questions = (await jsonOf(request)) as (string | [string, Json])[]
        const answers = await askAside((orthanc, signal) =>
          Promise.all(
            questions.map(async question =>
              typeof question === 'string'
                ? ((await orthanc.get(question, signal)) ?? 'absent')
                : await orthanc.post(...question, signal),
            ),
          ),
        )
        return json(answers)
      },
      // Without end, several at once.
      PUT: async request => {
        const uris = (await jsonOf(request)) as string[]
        storm = 0
        aside.resolve(async (orthanc, signal) => {
          for (;;) {
            await Promise.all(uris.map(uri => orthanc.get(uri, signal)))
            storm += uris.length
          }
        })
        return json({})
      },
    },
  },
  {
    pattern: '/tiny/echo/([a-z]+)',
    methods: {
      GET: async ({ groups }) => json({ groups }),
      POST: async request => ({ status: 200, type: 'text/plain', body: await collectSource(request.body) }),
      PUT: async () => ({ status: 204, type: 'text/plain', body: Buffer.alloc(0) }),
    },
  },
  {
    pattern: '/tiny/fail/([A-Za-z]+)',
    methods: {
      GET: async ({ groups }) => {
        throw new Fault(groups[0] as 'Denied', 'what went wrong', { where: { verb: 'try' } })
      },
    },
  },
  {
    pattern: '/tiny/ask',
    methods: {
      POST: async (request, orthanc, signal) => {
        const uris = (await jsonOf(request)) as string[]
        return json(await Promise.all(uris.map(async uri => (await orthanc.get(uri, signal)) ?? 'absent')))
      },
    },
  },
  {
    pattern: '/tiny/release',
    methods: {
      POST: async () => {
        released = true
        return json({})
      },
    },
  },
  {
    pattern: '/tiny/lookup',
    methods: {
      POST: async (_request, orthanc, signal) =>
        json(await orthanc.post('/tools/find', { Level: 'Study', Query: {} }, signal)),
    },
  },
  {
    pattern: '/tiny/count',
    methods: {
      POST: async (request, orthanc, signal) => {
        const { Priority = 0, Wait = false, Die = false, ...state } = (await jsonOf(request)) as Record<string, never>
        const id = await orthanc.submit(countJob(state), Priority, signal)
        if (Die && server.restarts === 0) process.kill(process.pid, 'SIGKILL')
        if (!Wait) return json({ ID: id })
        for (;;) {
          const job = (await orthanc.get(`/jobs/${id}`, signal)) as JsonObject
          if (job['State'] === 'Success') return json(job['Content'])
          if (job['State'] === 'Failure') return { error: 1, details: 'the job failed' }
          await new Promise(resolve => setTimeout(resolve, 50))
        }
      },
    },
  },
]

const server = await Server.connect(process.argv[2] as string, '0.0.0')
await server.configuration()
const services: Services = {
  area,
  routes,
  jobs: new Jobs(kind),
  metrics: () =>
    new Map([
      ['tiny_files', files.size],
      ['tiny_bytes', 123_456_789_012],
    ]),
  background,
  explorer: `// tiny extension ${'x'.repeat(5000)} end`,
}
await server.accept('keeps files in memory', { callDeadlineMs: 60_000, ranges: true, services })
await server.serve(services)
process.exit(0)
