/**
 * The clients: they upload and read, a given number of them at once. They have a process of their own with a small
 * heap: garbage that it collects is work beside what is measured.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { type BenchImage, imageOf } from './image.ts'

/** How they speak HTTP, see `kinds`. */
export type ClientKind = 'lean' | 'fetch'

export interface Work {
  /** Of Orthanc. */
  readonly url: string
  /** What to upload, or the instances to read. */
  readonly images?: readonly BenchImage[]
  readonly ids?: readonly string[]
  /** What else to read, or to remove. */
  readonly paths?: readonly string[]
  readonly removed?: readonly string[]
}

export interface Done {
  readonly seconds: number
  /** Of what was uploaded, in the order of the images. */
  readonly ids: readonly string[]
}

export class BenchClients {
  readonly #process: ChildProcess

  /** `count`: how many work at once. */
  constructor(kind: ClientKind, count: number) {
    this.#process = fork(fileURLToPath(import.meta.url), [kind, String(count)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
  }

  /** One at a time. */
  perform(work: Work): Promise<Done> {
    return new Promise((resolve, reject) => {
      const ended = () => reject(new Error('the clients failed'))
      this.#process.once('exit', ended)
      this.#process.once('message', done => {
        this.#process.off('exit', ended)
        resolve(done as Done)
      })
      this.#process.send(work)
    })
  }

  stop(): void {
    this.#process.kill('SIGKILL')
  }
}

interface Http {
  get(url: string): Promise<unknown>
  remove(url: string): Promise<unknown>
  /** Resolves to the answer's text. */
  post(url: string, body: Buffer): Promise<string>
}

const kinds: Readonly<Record<ClientKind, (count: number) => Http>> = {
  /** Plain node:http, which drops what it reads. */
  lean(count) {
    const agent = new Agent({ keepAlive: true, maxSockets: count })
    const run = (method: string, url: string, body?: Buffer) =>
      new Promise<string>((resolve, reject) => {
        const headers = body ? { 'content-length': body.byteLength } : {}
        const sent = request(url, { method, agent, headers }, answer => {
          let text = ''
          answer.on('data', chunk => {
            if (body) text += chunk
          })
          answer.on('end', () =>
            answer.statusCode === 200 ? resolve(text) : reject(new Error(`HTTP ${answer.statusCode}`)),
          )
        })
        sent.on('error', reject)
        sent.end(body)
      })
    return {
      get: url => run('GET', url),
      remove: url => run('DELETE', url),
      post: (url, body) => run('POST', url, body),
    }
  },

  /** As applications do it: each file that was read is in memory as a whole. */
  fetch() {
    const bytesOf = async (answer: Response) => {
      if (answer.status !== 200) throw new Error(`HTTP ${answer.status}`)
      return Buffer.from(await answer.arrayBuffer())
    }
    return {
      get: async url => bytesOf(await fetch(url)),
      remove: async url => bytesOf(await fetch(url, { method: 'DELETE' })),
      post: async (url, body) =>
        (await bytesOf(await fetch(url, { method: 'POST', body: body as Buffer<ArrayBuffer> }))).toString(),
    }
  },
}

async function perform(
  http: Http,
  count: number,
  { url, images = [], ids = [], paths = [], removed = [] }: Work,
): Promise<Done> {
  const stored: string[] = []
  const upload = async (image: BenchImage, i: number) => {
    stored[i] = JSON.parse(await http.post(`${url}/instances`, imageOf(image))).ID
  }
  const read = (id: string) => http.get(`${url}/instances/${id}/file`)
  const todo = [
    ...images.map((image, i) => () => upload(image, i)),
    ...ids.map(id => () => read(id)),
    ...paths.map(path => () => http.get(`${url}${path}`)),
    ...removed.map(path => () => http.remove(`${url}${path}`)),
  ]
  const began = performance.now()
  let next = 0
  const client = async () => {
    while (next < todo.length) await todo[next++]?.()
  }
  await Promise.all(Array.from({ length: count }, client))
  return { seconds: (performance.now() - began) / 1000, ids: stored }
}

if (process.send) {
  const [kind, count] = [process.argv[2] as ClientKind, Number(process.argv[3])]
  const http = kinds[kind](count)
  process.on('message', async (work: Work) => process.send?.(await perform(http, count, work)))
}
