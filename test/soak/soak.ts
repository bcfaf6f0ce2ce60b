/**
 * A soak: clients work while everything happens that may happen (the storm), then while only the network and the store
 * fail (the long haul: one engine, whose memory and descriptors must be flat); then all is quiet, and the books are
 * checked.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../harness/until.ts'
import { chanceOf } from '../support/chance.ts'
import { Clients } from './clients.ts'
import { Faults, HARD, LONG_ONES, MILD } from './faults.ts'
import { Model } from './model.ts'
import { harm, type Stage } from './stage.ts'
import { type Rest, verify } from './verify.ts'
import { growth, VITALS, Vitals } from './vitals.ts'

export interface SoakOptions {
  readonly seed: number
  readonly encrypted: boolean
  readonly storm: Stretch
  readonly haul: Stretch
  /** Of these as many as this are there at a time. */
  readonly instances: number
  /** So many operations lie between two faults that are not the network's, on average. */
  readonly apart: number
  /** What passes by itself, such as an outage, lasts no longer. */
  readonly longestMs: number
  /** Claims that nothing grows in the long haul. */
  readonly flat: boolean
  progress?(line: string): void
}

/** It lasts until both are over, and each kind of fault was there. */
export interface Stretch {
  readonly operations: number
  readonly minutes: number
}

export interface Report extends Rest {
  readonly operations: number
  readonly clients: Clients
  readonly faults: Faults
  readonly vitals: Vitals
}

const CLIENTS = 8
/** Of all exchanges with the store, this share comes to harm. */
const HARM = 0.03
const SAMPLES = 200
const PROBES = 20
/** Exchanges that may still be under way. */
const PENDING = 500

export async function soak(stage: Stage, options: SoakOptions): Promise<Report> {
  const { seed, encrypted, storm, haul, instances, apart, longestMs, progress } = options
  const { orthanc, proxy, hybrid } = stage
  const model = new Model()
  const clients = new Clients(orthanc, model, instances, hybrid)
  const faults = new Faults({ stage, clients, chance: chanceOf(seed), longestMs })
  const vitals = new Vitals()
  const broken: string[] = []

  const during = (name: string, { operations, minutes }: Stretch, kinds: object) => {
    const [from, end] = [clients.operations, performance.now() + minutes * 60_000]
    return () => {
      progress?.(
        `${name}: ${clients.operations} operations, ${model.there.length} instances, ` +
          `${clients.counts.failures} failures reported; broken: ${clients.counts.broken.join('; ') || 'nothing'}`,
      )
      faults.countHarm(PENDING)
      const done = clients.operations - from
      const missing = Object.keys(kinds).some(kind => !faults.counts.has(kind))
      return clients.counts.broken.length < 20 && (done < operations || performance.now() < end || missing)
    }
  }

  if (proxy) proxy.decide = harm(seed, HARM, encrypted)
  const all = storm.minutes > 0 ? { ...HARD, ...LONG_ONES } : HARD
  const stormy = during('storm', storm, all)
  await Promise.all([clients.work(CLIENTS, seed, stormy), faults.inject(all, apart, stormy)])

  const engine = await until('an engine', () => orthanc.enginePid())
  const hauling = during('long haul', haul, MILD)
  const sampling = async () => {
    const from = clients.operations
    for (let taken = 1; hauling(); await sleep(50)) {
      if (clients.operations - from < (taken * haul.operations) / SAMPLES) continue
      if (orthanc.enginePid() !== engine) return void broken.push('the engine ended, though nobody killed it')
      vitals.sample(orthanc.pid, engine)
      if (taken % (SAMPLES / PROBES) === 0) await vitals.probe(engine, stage.probe)
      taken++
    }
  }
  const sampled = sampling()
  await Promise.all([clients.work(CLIENTS, seed + 1, hauling), faults.inject(MILD, apart, hauling), sampled])
  if (options.flat) broken.push(...VITALS.flatMap(vital => growth(vital, vitals.samples[vital]) ?? []))

  if (proxy) proxy.decide = () => undefined
  faults.countHarm(0)
  progress?.('all is quiet: everything is read')
  const rest = await verify(stage, model, clients)
  return {
    ...rest,
    broken: [...clients.counts.broken, ...broken, ...rest.broken],
    operations: clients.operations,
    clients,
    faults,
    vitals,
  }
}
