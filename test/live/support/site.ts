/** An Orthanc, its store, the network between them, and what must hold whatever the network does. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { type OrthancProcess, startOrthanc } from '../../../harness/orthanc.ts'
import { until } from '../../../harness/until.ts'
import { chanceOf } from '../../support/chance.ts'
import { sha256 } from '../../support/sha256.ts'
import { type Exchange, FaultProxy } from './fault-proxy.ts'
import { MixedOperations, type OperationOutcome } from './mixed-operations.ts'
import { type FaultKind, harming } from './network-kinds.ts'
import type { Place } from './places.ts'
import { unfinished } from './unfinished.ts'
import type { ServerWay } from './ways.ts'

const REQUEST_TIMEOUT_S = 10
const MAX_CONNECTIONS = 25
/**
 * How long an operation of Orthanc may take: three calls to the store, each with its deadline and the slack that the
 * plugin gives it. And Orthanc 1.10 locks its database while a file is removed, so every operation may wait for some
 * thirty removals that get no answer.
 */
const DEADLINE_MS = 3 * (REQUEST_TIMEOUT_S + 30) * 1000 + 30 * REQUEST_TIMEOUT_S * 1000
const OUTAGE_MS = 4000
const SHARE = 0.25

/** The codes of docs/errors.md for a network: nothing that it does is a defect, an absence or a bad request. */
const CODES = /\[(Unavailable|Timeout|Corrupt)\]/
const STATUSES: readonly number[] = [502, 503, 504]

export interface SiteOptions {
  /** Encrypted, and in a hybrid mode. */
  readonly sealed: boolean
  readonly operations: number
}

/** An ERROR line. */
interface Failure {
  readonly verb: string
  readonly line: string
}

export class Site {
  readonly #way: ServerWay
  readonly #options: SiteOptions
  readonly #folder = mkdtempSync(join(tmpdir(), 'ocs-network-'))
  readonly #proxy: FaultProxy
  #place!: Place
  #orthanc!: OrthancProcess

  constructor(way: ServerWay, options: SiteOptions) {
    this.#way = way
    this.#options = options
    this.#proxy = new FaultProxy(way.origin)
  }

  async open(): Promise<void> {
    try {
      await this.#open()
    } catch (error) {
      await this.close() // else what is open keeps the test's process
      throw error
    }
  }

  async #open(): Promise<void> {
    this.#place = await this.#way.make()
    const origin = await this.#proxy.open()
    writeFileSync(join(this.#folder, 'key'), Buffer.alloc(32, 7).toString('base64'), { mode: 0o600 })
    const [[section, options] = ['', {}]] = Object.entries(this.#place.config)
    const hybrid = {
      HybridMode: 'WriteToObjectStorage',
      StorageEncryption: { Enable: true, MasterKey: [1, join(this.#folder, 'key')] },
    }
    this.#orthanc = await startOrthanc({
      dir: this.#folder,
      config: {
        [section]: {
          ...this.#way.through(options, origin),
          ...this.#way.inParts,
          RequestTimeout: REQUEST_TIMEOUT_S,
          ConnectionTimeout: 5,
          MaxRetries: 5,
          MaxConnections: MAX_CONNECTIONS,
          ...(this.#options.sealed ? hybrid : {}),
        },
        StorageDirectory: 'index', // relative to the configuration
        HttpThreadsCount: 250,
      },
    })
  }

  async close(): Promise<void> {
    await this.#orthanc?.stop()
    await this.#proxy.close()
    await this.#place?.dispose()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** One kind of fault: it begins and ends with a good network. */
  async endure(kind: FaultKind, { outage, seed }: { outage: boolean; seed: number }): Promise<void> {
    const logged = this.#orthanc.log().length
    try {
      await this.#endure(kind, outage, seed)
    } catch (error) {
      await this.#clear()
      const lines = failuresIn(this.#orthanc.log().slice(logged)).map(({ line }) => line)
      for (const key of await this.#place.keys()) await this.#place.remove(key)
      throw new Error(`${lines.slice(0, 20).join('\n')}\n${error}`, { cause: error })
    }
  }

  async #endure(kind: FaultKind, outage: boolean, seed: number): Promise<void> {
    const load = new MixedOperations(this.#orthanc, {
      operations: this.#options.operations,
      large: this.#way.large,
      deadlineMs: DEADLINE_MS,
    })
    try {
      await load.prepare(uuid => this.#vanish(uuid))
      const engine = this.#orthanc.enginePid()
      const descriptors = this.#descriptors()
      const [logged, exchanged] = [this.#orthanc.log().length, this.#proxy.exchanges.length]
      const job = this.#options.sealed && (await this.#beginMove(load))

      const weather = this.#spoil(kind, outage, seed)
      const outcomes = await load.run(chanceOf(seed))
      await weather.better
      this.#better()
      const harmed = this.#proxy.exchanges.slice(exchanged).filter(exchange => exchange.harmed)
      assert.ok(harmed.length > 0 || kind.closed, 'something was harmed')
      if (job) await this.#orthanc.job(job, ['Success', 'Failure'])
      await until(
        'the store to be reachable',
        async () => (await this.#orthanc.getJson('/cloud-storage/status')).Reachable,
      )

      const failures = failuresIn(this.#orthanc.log().slice(logged))
      this.#eachIsRightOrClear(outcomes, failures, kind)
      assert.equal(this.#orthanc.enginePid(), engine, 'the engine lives')
      await this.#holdsWhatOrthancBelieves(load, outcomes, failures)
      await this.#abandons(this.#proxy.exchanges.slice(exchanged), failures)
      assert.deepEqual(this.#descriptors(), descriptors, 'no descriptor is left open')
    } finally {
      await load.end()
    }
  }

  /** Moves half of the files to the disk. Then it begins to move them to the store, while the network is bad. */
  async #beginMove({ kept }: MixedOperations): Promise<string> {
    const Resources = kept.slice(kept.length / 2).map(({ id }) => id)
    const move = (more: object) =>
      this.#orthanc.postJson('/move-storage', Buffer.from(JSON.stringify({ Resources, ...more })))
    await move({ TargetStorage: 'file-system' })
    return (await move({ TargetStorage: 'object-storage', Asynchronous: true })).ID
  }

  #spoil(kind: FaultKind, outage: boolean, seed: number): { better: Promise<void> } {
    if (!outage) {
      this.#proxy.decide = harming(kind, this.#way.provider, seed, SHARE)
      return { better: Promise.resolve() }
    }
    const { closed } = kind
    const down = closed === 'refused' ? this.#proxy.close() : Promise.resolve()
    this.#proxy.refusing = closed === 'reset'
    this.#proxy.decide = harming(kind, this.#way.provider, seed, 1)
    const better = async () => {
      await down
      await sleep(OUTAGE_MS)
      this.#better()
      if (closed === 'refused') await this.#proxy.open()
    }
    return { better: better() }
  }

  #better(): void {
    this.#proxy.refusing = false
    this.#proxy.decide = () => undefined
    this.#proxy.release()
  }

  async #vanish(uuid: string): Promise<void> {
    for (const key of await this.#place.keys()) if (key.includes(uuid)) await this.#place.remove(key)
  }

  #eachIsRightOrClear(outcomes: readonly OperationOutcome[], failures: readonly Failure[], kind: FaultKind): void {
    const linesAbout = (verb: string, uuid: string) =>
      failures.filter(one => one.verb === verb && one.line.includes(uuid)).length
    for (const outcome of outcomes) {
      const { verb, uuid, status, inParts, wrong } = outcome
      const text = JSON.stringify(outcome)
      assert.notEqual(status, 0, `it ends in time: ${text}`)
      // As docs/reliability.md says: no digest is known of ranges, and of files that went up in parts to S3.
      const undigested = verb === 'tags' || (inParts && this.#way.provider === 's3')
      const unseen = kind.changesBytes && !this.#options.sealed && undigested
      assert.ok(wrong === undefined || unseen, `right or refused: ${text}`)
      if (status === 200 || (verb === 'read absent' && status === 404)) continue
      assert.ok(STATUSES.includes(status) || unseen, `a status of a network's faults: ${text}`)
      // The tags of an encrypted image are a file of their own.
      const file = verb === 'tags' && this.#options.sealed ? '.head' : uuid
      if (verb !== 'upload') assert.ok(linesAbout('read', file) > 0 || unseen, `there is an ERROR line about ${text}`)
    }
    const failed = outcomes.filter(({ verb, status }) => verb === 'upload' && status !== 200)
    assert.ok(linesAbout('write', '') >= failed.length, `${failed.length} failed uploads have an ERROR line each`)
    for (const { verb, line } of failures) {
      // A step of a job asks Orthanc, which may lock its database for long: see DEADLINE_MS.
      const clear =
        verb === 'move' ||
        line.endsWith('cannot run a job: the storage engine did not finish in time') ||
        (/ '[^']+' on \w+:/.test(line) && CODES.test(line))
      assert.ok(clear || / '[^']+' on .*NotFound/.test(line), `a clear line: ${line}`)
    }
  }

  async #holdsWhatOrthancBelieves(
    load: MixedOperations,
    outcomes: readonly OperationOutcome[],
    failures: readonly Failure[],
  ): Promise<void> {
    const believed = await this.#believed()
    const gone = new Set(load.lost.map(({ uuid }) => uuid))
    const [cloud, disk] = [await this.#place.keys(), this.#onDisk()]
    // A job whose step did not end in time is a failure. What it was about to remove stays until it is submitted again.
    const brokenOff = failures.some(({ line }) => line.includes('cannot run a job: '))
    const named = (key: string) => failures.some(({ line }) => line.includes(uuidOf(key)))

    for (const { uuid } of believed) {
      const copies = [...cloud, ...disk].filter(key => key.includes(uuid))
      if (gone.has(uuid)) continue
      assert.ok(copies.length > 0, `a file of Orthanc's is lost: ${uuid}`)
      assert.ok(
        copies.length === 1 || brokenOff || copies.every(named),
        `two copies, and no ERROR line about them: ${copies}`,
      )
    }
    const known = new Set(believed.map(({ uuid }) => uuid))
    const left = [...cloud, ...disk].filter(key => !known.has(uuidOf(key)))
    const failedUploads = outcomes.filter(({ verb, status }) => verb === 'upload' && status !== 200).length
    const failedRemovals = new Set(failures.filter(({ verb }) => verb === 'remove').map(({ line }) => line)).size
    assert.ok(left.length <= 2 * failedUploads + failedRemovals, `left behind: ${left}`)
    // When one file of an upload fails, those that Orthanc stored before it stay, and Orthanc does not log them.
    const unnamed = left.filter(key => !named(key))
    assert.ok(
      unnamed.length <= (this.#options.sealed ? failedUploads : 0),
      `left behind without an ERROR line: ${unnamed}`,
    )
    await this.#allReadable(load, believed, gone)

    await this.#clear()
    assert.deepEqual(
      (await this.#place.keys()).sort(),
      cloud.filter(key => left.includes(key)).sort(),
      'the rest is removed',
    )
    for (const key of await this.#place.keys()) await this.#place.remove(key)
  }

  /** An upload in parts whose first answer was lost has no parts, and the engine does not know its id. */
  async #abandons(exchanges: readonly Exchange[], failures: readonly Failure[]): Promise<void> {
    const lost = exchanges.filter(({ path, harmed }) => /\?uploads\b/.test(path) && harmed).length
    const failed = failures.filter(({ verb, line }) => verb === 'write' || / cannot write /.test(line)).length
    const left = await unfinished(this.#place, exchanges)
    assert.ok(left <= lost + failed, `${left} uploads were never ended; ${failed} writes failed`)
  }

  async #clear(): Promise<void> {
    this.#better()
    for (const id of await this.#orthanc.getJson('/patients')) await this.#orthanc.delete(`/patients/${id}`)
  }

  async #believed() {
    const found: { id: string; name: string; uuid: string }[] = []
    for (const id of await this.#orthanc.getJson('/instances'))
      for (const file of await this.#orthanc.attachmentsOf(id)) found.push({ id, ...file })
    return found
  }

  async #allReadable(
    load: MixedOperations,
    believed: readonly { id: string; name: string; uuid: string }[],
    gone: ReadonlySet<string>,
  ) {
    const few = pLimit(4)
    const right = new Set([...load.kept, ...load.doomed].map(({ hash }) => hash).concat([...load.uploaded.values()]))
    const seen = new Set<string>()
    const look = async ({ id, name, uuid }: (typeof believed)[number]) => {
      if (gone.has(uuid)) return
      if (name !== 'dicom')
        return void (await this.#orthanc.postJson(`/instances/${id}/attachments/${name}/verify-md5`, Buffer.from('')))
      seen.add(sha256(await this.#orthanc.getBytes(`/instances/${id}/file`)))
    }
    await Promise.all(believed.map(one => few(() => look(one))))
    for (const hash of right) assert.ok(seen.has(hash), 'an acknowledged image is there with its bytes')
  }

  #onDisk(): string[] {
    const folder = join(this.#folder, 'index')
    if (!this.#options.sealed || !existsSync(folder)) return []
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(path => /^..\/..\/./.test(path))
  }

  /** What the engine has open, except connections. */
  #descriptors(): string[] {
    const pid = this.#orthanc.enginePid()
    const open = readdirSync(`/proc/${pid}/fd`).flatMap(fd => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
      } catch {
        return [] // closed while we looked
      }
    })
    return open.filter(name => !name.startsWith('socket:')).sort()
  }
}

function uuidOf(key: string): string {
  return /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(key)?.[0] ?? key
}

function failuresIn(log: string): readonly Failure[] {
  return log.split('\n').flatMap(line => {
    const [, verb] = /^E.*\] cannot (\w+) /.exec(line) ?? []
    return verb ? [{ verb, line }] : []
  })
}
