/** Uploads, reads and removals at once on a real Orthanc. It remembers what was acknowledged. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeImage } from '../../../harness/dicom.ts'
import type { OrthancProcess } from '../../../harness/orthanc.ts'
import { until } from '../../../harness/until.ts'
import { type Chance, chanceOf } from '../../support/chance.ts'
import { sha256 } from '../../support/sha256.ts'

const sha1 = (text: string) => createHash('sha1').update(text).digest('hex')

/** Between a failure and the next try of the same worker. Without it, what fails at once would fill the logs. */
const PAUSE_MS = 20

/** `perhaps`: the answer was an error, or there was none. */
type State = 'there' | 'perhaps' | 'gone'
interface Instance {
  readonly sha: string
  state: State
  /** A worker uses it. */
  busy: boolean
}

export interface LoadOptions {
  readonly seed?: number
  readonly workers?: number
  /** Rows of the square images. One of these is chosen each time. */
  readonly rows?: readonly number[]
}

export class Load {
  readonly instances = new Map<string, Instance>()
  /** What may never happen: wrong bytes, and 404 for what is there. */
  readonly wrong: string[] = []
  /** Uploads and reads that succeeded. Not removals: Orthanc always calls a removal a success. */
  done = 0
  /** Orthanc's answers to operations that failed. */
  readonly failures: string[] = []
  orthanc: OrthancProcess
  readonly #rows: readonly number[]
  readonly #count: number
  readonly #chance: Chance
  #seed: number
  #workers: Promise<void>[] = []
  #stopped = true

  constructor(orthanc: OrthancProcess, { seed = 1, workers = 6, rows = [64, 64, 332, 1024] }: LoadOptions = {}) {
    this.orthanc = orthanc
    this.#chance = chanceOf(seed)
    this.#seed = seed * 100_000
    this.#count = workers
    this.#rows = rows
  }

  start(): this {
    this.#stopped = false
    this.#workers = Array.from({ length: this.#count }, async () => {
      while (!this.#stopped) await this.#one()
    })
    return this
  }

  /** Every operation under way has ended when this resolves: none hangs. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#workers)
  }

  /** Waits until `count` more have succeeded: the product works. */
  async more(count: number): Promise<void> {
    const goal = this.done + count
    const state = () => `${count} more operations to succeed; the last that failed: ${this.failures.at(-1)}`
    await until(state, () => this.done >= goal)
  }

  /** Waits until `count` more have failed: the fault has an effect. */
  async moreFailed(count = 1): Promise<void> {
    const goal = this.failures.length + count
    await until(`${count} more operations to fail`, () => this.failures.length >= goal)
  }

  /** What was acknowledged is there with the right bytes, and what was removed is gone, in this Orthanc. */
  async verify(): Promise<void> {
    const all = this.instances.entries()
    const worker = async () => {
      for (const [id, { sha, state }] of all) {
        const { status, body } = await this.orthanc.request('GET', `/instances/${id}/file`)
        if (status === 200 && state !== 'gone' && sha256(body) === sha) continue
        if (status === 404 && state !== 'there') continue
        this.wrong.push(`${id}, which is ${state}: HTTP ${status} ${body.toString('latin1').slice(0, 200)}`)
      }
    }
    await Promise.all(Array.from({ length: 4 }, worker))
    assert.deepEqual(this.wrong, [])
    assert.ok(this.count('there') > 0, 'something was there to be verified')
  }

  count(state: State): number {
    return [...this.instances.values()].filter(one => one.state === state).length
  }

  #free(): [string, Instance] | undefined {
    const all = [...this.instances].filter(([, one]) => one.state === 'there' && !one.busy)
    return this.#chance.oneOf(all)
  }

  async #one(): Promise<void> {
    const dice = this.#chance.between(0, 9)
    const chosen = dice < 4 ? undefined : this.#free()
    if (!chosen) return await this.#upload()
    const [id, one] = chosen
    one.busy = true
    if (dice < 8) await this.#read(id, one)
    else await this.#remove(id, one)
    one.busy = false
  }

  async #upload(): Promise<void> {
    const seed = this.#seed++
    const rows = this.#chance.oneOf(this.#rows)
    const file = makeImage({ seed, study: seed, rows, columns: rows, patientId: `P${seed}` })
    const one: Instance = { sha: sha256(file), state: 'perhaps', busy: true }
    const id = idOf(seed)
    this.instances.set(id, one)
    if (await this.#try('POST', '/instances', file)) one.state = 'there'
    one.busy = false
  }

  async #read(id: string, one: Instance): Promise<void> {
    const body = await this.#try('GET', `/instances/${id}/file`)
    if (body && sha256(body) !== one.sha) this.wrong.push(`${id}: ${body.length} bytes that are not its own`)
  }

  async #remove(id: string, one: Instance): Promise<void> {
    one.state = 'perhaps'
    if (await this.#try('DELETE', `/instances/${id}`)) one.state = 'gone'
  }

  async #try(method: 'GET' | 'POST' | 'DELETE', path: string, body?: Uint8Array): Promise<Buffer | undefined> {
    const { status, said } = await this.orthanc.request(method, path, body).then(
      answer => ({ status: answer.status, said: answer.body }),
      error => ({ status: 0, said: Buffer.from(String(error)) }),
    )
    if (status === 200) {
      if (method !== 'DELETE') this.done++
      return said
    }
    this.failures.push(`${method} ${path}: HTTP ${status} ${said.toString('latin1').replace(/\s+/g, ' ')}`)
    if (status === 404 && method === 'GET') this.wrong.push(`404 for ${path}, which is there`)
    await sleep(PAUSE_MS)
    return undefined
  }
}

/** The UUIDs of the files that Orthanc believes to have. Orthanc must have stopped: it locks its database. */
export function believed(index: string): Set<string> {
  const database = new DatabaseSync(join(index, 'index'), { readOnly: true })
  const rows = database.prepare('SELECT uuid FROM AttachedFiles').all()
  database.close()
  return new Set(rows.map(row => String(row['uuid'])))
}

/** Orthanc's id of what makeImage() makes above. */
function idOf(seed: number): string {
  const root = '2.25.8149003'
  const id = sha1(`P${seed}|${root}.1.${seed}|${root}.2.${seed * 1000 + 1}|${root}.3.${seed}`)
  return (id.match(/.{8}/g) ?? []).join('-')
}
