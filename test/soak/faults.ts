/** What happens to processes, folders and the store, one thing at a time. */
import { readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../harness/until.ts'
import type { Chance } from '../support/chance.ts'
import type { Clients } from './clients.ts'
import type { Stage } from './stage.ts'

interface Scene {
  readonly stage: Stage
  readonly clients: Clients
  readonly chance: Chance
  /** How long what passes by itself may last. */
  readonly longestMs: number
}
type Fault = (scene: Scene) => Promise<void>

const engineOf = ({ orthanc }: Stage) => until('an engine', () => orthanc.enginePid())
const successorOf = ({ orthanc }: Stage, engine: number) =>
  until('another engine', () => {
    const pid = orthanc.enginePid()
    return pid !== undefined && pid !== engine
  })

const away: Fault = async ({ stage: { proxy, place }, chance, longestMs }) => {
  const ms = chance.between(longestMs / 10, longestMs)
  if (proxy) {
    await proxy.close()
    await sleep(ms)
    await proxy.open()
    return
  }
  const path = String(Object.values(place.config)[0]?.['Path'])
  renameSync(path, `${path}.away`)
  await sleep(ms)
  renameSync(`${path}.away`, path)
}

const stopped: Fault = async ({ stage, chance, longestMs }) => {
  const engine = await engineOf(stage)
  process.kill(engine, 'SIGSTOP')
  await sleep(chance.between(longestMs / 10, longestMs))
  process.kill(engine, 'SIGCONT')
}

/** With these an engine lives on. */
export const MILD: Readonly<Record<string, Fault>> = {
  'store away for a while': away,
  'engine stopped for a while': stopped,
  async 'socket folder cleaned'({ stage: { folder } }) {
    const all = join(folder, 'temporary')
    for (const name of readdirSync(all))
      if (name.startsWith('orthanc-cloud-storage-')) rmSync(join(all, name), { recursive: true, force: true })
  },
}

export const HARD: Readonly<Record<string, Fault>> = {
  ...MILD,
  async 'engine killed'({ stage }) {
    const engine = await engineOf(stage)
    process.kill(engine, 'SIGKILL')
    await successorOf(stage, engine)
  },
  async 'engine killed, store away'(scene) {
    const engine = await engineOf(scene.stage)
    const outage = away(scene)
    process.kill(engine, 'SIGKILL')
    await Promise.all([outage, successorOf(scene.stage, engine)])
  },
  async 'Orthanc reset'({ stage, clients }) {
    const engine = await engineOf(stage)
    clients.resetting = true
    await stage.orthanc.request('POST', '/tools/reset', Buffer.from('')).catch(() => undefined) // it may end with the old server
    await successorOf(stage, engine)
    await stage.orthanc.ready()
    clients.resets++
    clients.resetting = false
  },
}

/** It takes as long as the plugin's patience, half a minute. */
export const LONG_ONES: Readonly<Record<string, Fault>> = {
  async 'engine stopped for ever'({ stage }) {
    const engine = await engineOf(stage)
    process.kill(engine, 'SIGSTOP')
    await successorOf(stage, engine)
  },
}

export class Faults {
  readonly counts = new Map<string, number>()
  readonly #scene: Scene

  constructor(scene: Scene) {
    this.#scene = scene
  }

  /** One of `kinds` after some `apart` operations, each kind as often as the others, until `goesOn` says no. */
  async inject(kinds: Readonly<Record<string, Fault>>, apart: number, goesOn: () => boolean): Promise<void> {
    const { clients, chance } = this.#scene
    let bag: string[] = []
    for (;;) {
      const due = clients.operations + chance.between(apart / 2, apart * 1.5)
      while (clients.operations < due) {
        if (!goesOn()) return
        await sleep(20)
      }
      if (bag.length === 0) bag = Object.keys(kinds)
      const [name = ''] = bag.splice(chance.between(0, bag.length - 1), 1)
      await kinds[name]?.(this.#scene)
      this.count(name)
    }
  }

  count(name: string, times = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + times)
  }

  /** What the network did, as far as it is over. The proxy would keep all that ever passed. */
  countHarm(pending: number): void {
    const exchanges = this.#scene.stage.proxy?.exchanges
    if (!exchanges) return
    for (const { harmed } of exchanges.splice(0, Math.max(0, exchanges.length - pending)))
      if (harmed) this.count(`network: ${harmed}`)
  }
}
