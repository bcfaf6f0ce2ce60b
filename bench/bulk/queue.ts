/**
 * How much faster three processes on a queue are than one, behind a round trip of 20 ms, with one connection each:
 * node bench/bulk/queue.ts. It needs PostgreSQL. With arguments it is one of the processes: queue.ts URL PORT.
 */
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { startPostgresql } from '../../harness/postgresql.ts'
import type { BulkWork, Shard, ShardTally } from '../../src/bulk/work.ts'
import { runBulk } from '../../src/cli/bulk.ts'
import { Fault } from '../../src/fault.ts'
import { settingsOfUri } from '../../src/orthanc-index/postgresql-session.ts'
import { RunList } from '../../src/queue/list.ts'

const PROCESSES = 3
const OBJECTS_IN_A_SHARD = 20
const ROUND_TRIP_MS = 20

/** Asks for each object once, over one connection. */
class Asking implements BulkWork<ShardTally & { readonly objects: number }> {
  readonly name = 'ask'
  readonly identity: { readonly port: number }
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  #objects = 0

  constructor(port: number) {
    this.identity = { port }
  }

  get underWay() {
    return { objects: this.#objects }
  }

  async shard({ number }: Shard, signal: AbortSignal) {
    let objects = 0
    try {
      for (; objects < OBJECTS_IN_A_SHARD; objects++) {
        if (signal.aborted) throw Fault.ofAbort(signal)
        await this.#ask(`/${number}/${objects}`)
        this.#objects++
      }
      return { objects, failures: 0 }
    } finally {
      this.#objects -= objects
    }
  }

  async #ask(path: string): Promise<void> {
    const request = get({ host: '127.0.0.1', port: this.identity.port, path, agent: this.#agent })
    const [answer] = await once(request, 'response')
    answer.resume()
    await once(answer, 'end')
  }
}

async function measure(): Promise<void> {
  const server = createServer((_, response) => response.end('here'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const proxy = fork(join(import.meta.dirname, '..', 'delay-proxy.ts'), [String(port), String(ROUND_TRIP_MS)], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const [far] = await once(proxy.stdout ?? process.stdin, 'data')
  const postgresql = await startPostgresql()
  try {
    const seconds: number[] = []
    for (const count of [1, PROCESSES]) {
      const name = `queue${count}`
      await postgresql.makeDatabase(name)
      const url = `postgres://${postgresql.user}@127.0.0.1:${postgresql.port}/${name}`
      const children = Array.from({ length: count }, () =>
        spawn(process.execPath, [import.meta.filename, url, String(far).trim()], { stdio: 'inherit' }),
      )
      const codes = await Promise.all(children.map(async child => (await once(child, 'exit'))[0]))
      if (codes.some(code => code !== 0)) throw new Error(`exit codes ${codes}`)
      seconds.push(await secondsOf(url))
      console.log(`${count} of them: ${seconds.at(-1)?.toFixed(1)} s`)
    }
    const [alone = 0, together = 1] = seconds
    console.log(`${PROCESSES} processes are ${(alone / together).toFixed(2)} times as fast as one`)
  } finally {
    await postgresql.stop()
    proxy.kill()
    server.close()
  }
}

/** From the beginning of the run to its end, so without the start of Node.js. */
async function secondsOf(url: string): Promise<number> {
  const list = await RunList.open(settingsOfUri(url, '--queue'), new AbortController().signal)
  try {
    const [run] = await list.all()
    return run?.status.seconds ?? 0
  } finally {
    await list.close()
  }
}

const [url, port] = process.argv.slice(2)
if (url === undefined) await measure()
else {
  const wording = {
    position: (tally: Readonly<Record<string, unknown>>) => `${tally['objects']} objects`,
    done: (tally: Readonly<Record<string, unknown>>) => Number(tally['objects'] ?? 0),
    sentence: () => undefined,
    summary: (tally: Readonly<Record<string, unknown>>) => [`objects: ${tally['objects']}`],
  }
  await runBulk(new Asking(Number(port)), { queue: url }, wording, new AbortController().signal)
  process.exit()
}
