/** A made-up site for tests of `verify`: an index, a store, perhaps Orthanc's disk, and what is wrong there. */
import { createHash, randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import type { Attachment, ContentType } from '../../src/area/area.ts'
import { diskNaming, keysOf, type Naming } from '../../src/area/naming.ts'
import { objectTier } from '../../src/area/object-tier.ts'
import type { Tier } from '../../src/area/tier.ts'
import { VerifiedCache } from '../../src/area/verified-cache.ts'
import { Alone } from '../../src/bulk/alone.ts'
import { State } from '../../src/bulk/state.ts'
import { sourceOf } from '../../src/bytes.ts'
import type { Fault } from '../../src/fault.ts'
import type { Indexed, OrthancIndex } from '../../src/orthanc-index/orthanc-index.ts'
import { type RepairOptions, repair } from '../../src/repair/repair.ts'
import { a1 } from '../../src/seal/a1.ts'
import { Budget } from '../../src/seal/budget.ts'
import { plain } from '../../src/seal/envelope.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import { Sealing } from '../../src/seal/sealing.ts'
import type { Store } from '../../src/stores/store.ts'
import type { Finding } from '../../src/verify/finding.ts'
import { Place } from '../../src/verify/place.ts'
import { Scratch } from '../../src/verify/scratch.ts'
import { type SharedOptions, SharedVerification } from '../../src/verify/shared.ts'
import { fromLine, tallyOf } from '../../src/verify/shared-lines.ts'
import { Verification, type VerifyOptions } from '../../src/verify/verify.ts'
import { memoryStore } from './memory-store.ts'

export const never = new AbortController().signal
export const DAY_MS = 24 * 3600 * 1000
const key1 = masterKey(1, Buffer.alloc(32, 1).toString('base64'))
const stranger = masterKey(9, Buffer.alloc(32, 9).toString('base64'))

export type Encryption = 'none' | 'on' | 'on, and plain objects are read'

export interface StageOptions {
  readonly structure?: Naming['structure']
  readonly encryption?: Encryption
  readonly hybrid?: boolean
  readonly legacyUnknownFiles?: boolean
  readonly rootPath?: string
  /** That of another site. */
  readonly store?: OldStore
}

export interface Site {
  readonly index: OrthancIndex & { readonly files: Map<string, Indexed> }
  readonly store: OldStore
  readonly disk: OldStore | undefined
  /** As new files are written; `where` is the disk of a hybrid site. */
  keyOf(file: Attachment, where?: 'store' | 'disk', sealed?: boolean): string
  /** A file that is well. */
  add(options?: { type?: ContentType; where?: 'store' | 'disk'; bytes?: Buffer; sealed?: boolean }): Promise<Indexed>
  /** The bytes of an object, sealed under the site's key, under one that it does not have, or not at all. */
  put(store: OldStore, key: string, bytes: Buffer, by?: 'key' | 'stranger' | 'nobody'): Promise<void>
  verify(more?: Partial<VerifyOptions> & { onStart?(run: Verification): void }, signal?: AbortSignal): Promise<Outcome>
  /** The same in shards, as with `--state`: `state` is that file. */
  shared(state: string, more?: Partial<Omit<SharedOptions, 'scratch'>>, signal?: AbortSignal): Promise<SharedRun>
  /** Verifies, and then repairs. */
  repair(more: Partial<RepairOptions>, olderThanMs?: number): Promise<RepairOutcome>
  /** What Orthanc reads, by its own way. */
  readonly tiers: readonly Tier[]
  readonly places: readonly Place[]
  readonly keyIds: ReadonlySet<number>
}

export interface RepairOutcome extends Outcome {
  /** `trash KEY`, `delete KEY`, `fetch KEY`, sorted. */
  readonly repaired: readonly string[]
  readonly settled: number
  readonly notRepaired: readonly Fault[]
  /** Why a repair was refused, or could not be finished. */
  readonly refused: Fault | undefined
}

export interface SharedRun {
  readonly findings: readonly Finding[]
  readonly failures: readonly Fault[]
  /** Why it has ended before its end. */
  readonly ended: Fault | undefined
  readonly complete: boolean
  readonly tally: ReturnType<typeof tallyOf>
}

export interface Outcome {
  readonly findings: readonly Finding[]
  readonly failures: readonly Fault[]
  readonly verification: Verification
}

/** A store in memory that tells its time, whose objects were written two days ago. */
export type OldStore = Store & { readonly young: Set<string> }

function oldStore(name: string): OldStore {
  const store = memoryStore(name)
  const young = new Set<string>()
  const now = new Date()
  const old = new Date(now.getTime() - 2 * DAY_MS)
  const aged = <T extends { key: string }>(stat: T) => ({
    ...stat,
    modified: young.has(stat.key) ? now : old,
    asOf: now,
  })
  return {
    ...store,
    young,
    stat: async (key, signal) => {
      const stat = await store.stat(key, signal)
      return stat && aged(stat)
    },
    async *list(prefix, signal) {
      for await (const stat of store.list(prefix, signal)) yield aged(stat)
    },
  }
}

export function fakeIndex(files = new Map<string, Indexed>()): Site['index'] {
  return {
    name: 'an index in memory',
    files,
    async *all() {
      const all = [...files.values()]
      for (let at = 0; at < all.length; at += 100) yield all.slice(at, at + 100)
    },
    find: async uuids => new Map([...files].filter(([uuid]) => uuids.has(uuid))),
    close: async () => {},
  }
}

export const md5Of = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex')

export function makeSite(options: StageOptions = {}): Site {
  const {
    structure = 'flat',
    encryption = 'none',
    hybrid = false,
    legacyUnknownFiles = false,
    rootPath = 'pacs',
  } = options
  const naming = { rootPath, structure, legacyUnknownFiles } as const
  const keys = encryption === 'none' ? keyring(undefined, []) : keyring(key1, [])
  const allowUnencryptedRead = encryption === 'on, and plain objects are read'
  const sealing = new Sealing(
    encryption === 'none' ? undefined : { enabled: true, allowUnencryptedRead },
    keys,
    () => {},
  )
  const [store, disk] = [options.store ?? oldStore('store'), hybrid ? oldStore('disk') : undefined]
  const index = fakeIndex()
  const envelope = encryption === 'none' ? plain : a1(keys)

  const placeOf = (name: 'object-storage' | 'file-system', at: Store, named: Naming) => {
    const shared = { naming: named, sealing, budget: new Budget(1e9), cache: new VerifiedCache() }
    const tier = objectTier({ name, store: at, again: work => work(), ...shared })
    return new Place({ tierName: name, store: at, naming: named, envelopes: sealing.envelopesOn(name), tier })
  }
  const places = [placeOf('object-storage', store, naming), ...(disk ? [placeOf('file-system', disk, diskNaming)] : [])]
  const put: Site['put'] = async (at, key, bytes, by = encryption === 'none' ? 'nobody' : 'key') => {
    const wrapped = { key: envelope, nobody: plain, stranger: a1(keyring(stranger, [])) }[by]
    await at.put(key, wrapped.seal(sourceOf(bytes)), never)
  }
  const keyOf: Site['keyOf'] = (file, where = 'store', sealed = encryption !== 'none') =>
    keysOf(where === 'disk' ? diskNaming : naming, sealed ? '.enc' : '', file)[0]

  return {
    index,
    store,
    disk,
    keyOf,
    put,
    async add({ type = 'dicom', where = 'store', bytes = Buffer.from(`a file, ${randomUUID()}`), sealed } = {}) {
      const file = { uuid: randomUUID(), type, size: bytes.byteLength, md5: md5Of(bytes) }
      index.files.set(file.uuid, file)
      const by = sealed === false ? 'nobody' : undefined
      await put(where === 'disk' && disk ? disk : store, keyOf(file, where, sealed), bytes, by)
      return file
    },
    tiers: places.map(({ tier }) => tier),
    places,
    keyIds: new Set(keys.ids),
    async verify(more = {}, signal = never) {
      const scratch = new Scratch(tmpdir())
      try {
        return await verifyInto(scratch, more, signal)
      } finally {
        scratch.close()
      }
    },
    async shared(path, more = {}, signal = never) {
      const work = new SharedVerification({
        ...{ index, places, scratch: tmpdir(), identity: {}, concurrency: 4 },
        ...{ olderThanMs: DAY_MS, digests: false, deep: false, settleMs: 0, keyIds: new Set(keys.ids), ...more },
      })
      const failures: Fault[] = []
      const state = new State(path, { command: work.name })
      try {
        const alone = new Alone({ work, state, onFailure: fault => failures.push(fault) })
        const ended = await alone.run(signal).then(
          () => undefined,
          error => error as Fault,
        )
        const { complete, lines, tally } = alone.outcome
        const findings = [...lines()].map(fromLine).flatMap(line => (line.kind === 'found' ? [line.finding] : []))
        return { findings, failures, ended, complete, tally: tallyOf(tally, work.stores) }
      } finally {
        state.close()
      }
    },
    async repair(more, olderThanMs = DAY_MS) {
      const scratch = new Scratch(tmpdir())
      const repaired: string[] = []
      const notRepaired: Fault[] = []
      let settled = 0
      try {
        const found: Finding[] = []
        const onFinding = (finding: Finding) => {
          found.push(finding)
          scratch.addFinding(finding)
        }
        const outcome = await verifyInto(scratch, { olderThanMs, onFinding }, never)
        const options: RepairOptions = {
          ...{ index, places, concurrency: 4, yes: true, expect: undefined, repairs: {} },
          proveBelonging: async () => {},
          movesRun: async () => false,
          onRepaired: ({ how, finding: { key } }) => repaired.push(`${how} ${key}`),
          onSettled: () => settled++,
          onFailure: error => notRepaired.push(error as Fault),
          ...more,
        }
        const refused = await repair(outcome.verification, scratch, options, never).then(
          () => undefined,
          error => error as Fault,
        )
        return { ...outcome, findings: found, repaired: repaired.sort(), settled, notRepaired, refused }
      } finally {
        scratch.close()
      }
    },
  }

  async function verifyInto(
    scratch: Scratch,
    more: Partial<VerifyOptions> & { onStart?(run: Verification): void },
    signal: AbortSignal,
  ): Promise<Outcome> {
    const findings: Finding[] = []
    const failures: Fault[] = []
    const verification = new Verification({
      ...{ index, places, scratch },
      concurrency: 4,
      olderThanMs: DAY_MS,
      digests: false,
      deep: false,
      settleMs: 0,
      keyIds: new Set(keys.ids),
      onFinding: finding => findings.push(finding),
      onFailure: fault => failures.push(fault),
      ...more,
    })
    more.onStart?.(verification)
    await verification.run(signal)
    return { findings, failures, verification }
  }
}

/** For comparing: the kind and the key of each. */
export const named = (findings: readonly Finding[]) => findings.map(({ kind, key }) => `${kind} ${key}`).sort()
