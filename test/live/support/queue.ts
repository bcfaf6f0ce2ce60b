/** Processes of a queue in the process of the test: each is a `Many` of its own, with its own connections. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, connect as openSocket, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { Client } from 'pg'
import { type PostgreSql, startPostgresql } from '../../../harness/postgresql.ts'
import type { BulkWork, Line, ShardTally } from '../../../src/bulk/work.ts'
import { settingsOfUri } from '../../../src/orthanc-index/postgresql-session.ts'
import { Many, type ManyOptions } from '../../../src/queue/many.ts'
import { livePostgresql } from './servers.ts'

export const skip = !livePostgresql()
export const never = new AbortController().signal

const root = mkdtempSync(join(tmpdir(), 'ocs-queue-'))
let postgresql: PostgreSql
const closing: (() => unknown)[] = []
before(async () => {
  if (!skip) postgresql = await startPostgresql()
})
after(async () => {
  for (const close of closing.reverse()) await close()
  await postgresql?.stop()
  rmSync(root, { recursive: true, force: true })
})

let databases = 0
let folders = 0

export interface QueueDatabase {
  readonly url: string
  readonly name: string
  readonly port: number
  readonly user: string
  sql(text: string, values?: unknown[]): Promise<readonly Record<string, unknown>[]>
}

/** A new one. */
export async function queueDatabase(): Promise<QueueDatabase> {
  const name = `queue${databases++}`
  await postgresql.makeDatabase(name)
  const { port, user } = postgresql
  const client = new Client({ host: '127.0.0.1', port, user, database: name })
  client.on('error', () => {}) // the database stops at the end
  await client.connect()
  closing.push(() => client.end())
  return {
    ...{ name, port, user },
    url: `postgres://${user}@127.0.0.1:${port}/${name}`,
    sql: async (text, values) => (await client.query(text, values)).rows,
  }
}

/** A folder with `count` objects, spread over the shards. */
export function objectsFolder(count: number): { readonly folder: string; readonly keys: readonly string[] } {
  const folder = join(root, `objects${folders++}`)
  mkdirSync(folder)
  const keys = Array.from({ length: count }, (_, i) => {
    const digits = ((i * 37) % 256).toString(16).padStart(2, '0')
    return `${digits}${String(i).padStart(6, '0')}-0000-4000-8000-000000000000.dcm`
  })
  for (const key of keys) writeFileSync(join(folder, key), '')
  return { folder, keys: keys.toSorted() }
}

let shared: Promise<QueueDatabase> | undefined
/** The same for all tests of a file, as for the runs of a hospital. */
export function sharedDatabase(): Promise<QueueDatabase> {
  shared ??= queueDatabase()
  return shared
}

export const newFile = () => join(root, `file${folders++}`)

export interface Member {
  readonly many: Many
  readonly notes: readonly string[]
}

/** A process joins. It is closed by the test, or at the end. */
export async function member(
  url: string,
  work: BulkWork<ShardTally>,
  options: Partial<ManyOptions> = {},
): Promise<Member> {
  const notes: string[] = []
  const many = await Many.join(
    {
      work,
      settings: settingsOfUri(url, '--queue', {}),
      heartbeatSeconds: 10,
      pieces: tally => Number(tally['objects'] ?? 0),
      onFailure: fault => notes.push(fault.describe()),
      onNote: line => notes.push(line),
      ...options,
    },
    never,
  )
  closing.push(() => many.close())
  return { many, notes }
}

export async function linesOf(many: Many): Promise<readonly Line[]> {
  const lines: Line[] = []
  for await (const line of many.outcome.lines()) lines.push(line)
  return lines
}

/** A way to the database that can be cut. */
export async function proxyTo(port: number): Promise<{ readonly port: number; cut(): void; mend(): void }> {
  const sockets = new Set<Socket>()
  let isCut = false
  const server: Server = createServer(socket => {
    socket.on('error', () => {})
    if (isCut) return void socket.destroy()
    const there = openSocket(port, '127.0.0.1')
    for (const one of [socket, there]) {
      sockets.add(one)
      one.on('error', () => {}).on('close', () => sockets.delete(one))
    }
    socket.pipe(there).pipe(socket)
    socket.on('close', () => there.destroy())
    there.on('close', () => socket.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    cut() {
      isCut = true
      for (const socket of sockets) socket.destroy()
    },
    mend() {
      isCut = false
    },
  }
}
