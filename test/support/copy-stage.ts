/** Two sides in memory, and a copy from one to the other. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { ContentType } from '../../src/area/area.ts'
import { keysOf } from '../../src/area/naming.ts'
import { Alone } from '../../src/bulk/alone.ts'
import { State } from '../../src/bulk/state.ts'
import type { Line } from '../../src/bulk/work.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import { copyTally } from '../../src/cli/copy-report.ts'
import { Copy, type CopyOptions } from '../../src/copy/copy.ts'
import { planOf } from '../../src/copy/plan.ts'
import { isSealing, type Side } from '../../src/copy/side.ts'
import type { CopyTally } from '../../src/copy/tally.ts'
import { BUDGET_BYTES, Transfer } from '../../src/copy/transfer.ts'
import type { Fault } from '../../src/fault.ts'
import { a1, keyIdOf } from '../../src/seal/a1.ts'
import { Budget } from '../../src/seal/budget.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import { type Encryption, envelopesOf } from '../../src/seal/policy.ts'
import type { Store } from '../../src/stores/store.ts'
import { memoryStore } from './memory-store.ts'

export const never = new AbortController().signal
const folder = mkdtempSync(join(tmpdir(), 'ocs-copy-'))
after(() => rmSync(folder, { recursive: true, force: true }))

export const keyNumber = (id: number, secret = id) => masterKey(id, Buffer.alloc(32, secret).toString('base64'))

export interface SideOptions {
  readonly name?: string
  readonly structure?: 'flat' | 'legacy'
  readonly encryption?: Encryption
  readonly key?: number
  readonly previous?: readonly number[]
  readonly rootPath?: string
  readonly store?: Store
}

export function makeSide(options: SideOptions = {}): Side {
  const { name = 'side', structure = 'flat', encryption = 'none', key = 1, previous = [], rootPath = 'pacs' } = options
  const older = previous.map(id => keyNumber(id))
  const keys =
    encryption === 'none'
      ? keyring(undefined, [])
      : encryption === 'ended'
        ? keyring(undefined, [keyNumber(key), ...older])
        : keyring(keyNumber(key), older)
  return {
    store: options.store ?? memoryStore(name),
    naming: { rootPath, structure, legacyUnknownFiles: false },
    envelopes: envelopesOf(encryption, 'object-storage', a1(keys)),
    keys,
  }
}

export interface Written {
  readonly uuid: string
  readonly type: ContentType
  readonly key: string
  readonly bytes: Buffer
}

/** A file as Orthanc stores it there. `sealed`: else as new files are. */
export async function write(
  side: Side,
  {
    uuid = randomUUID(),
    type = 'dicom',
    bytes = Buffer.from(`a file, ${uuid}`),
    sealed,
  }: Partial<Written> & { sealed?: boolean } = {},
): Promise<Written> {
  const envelope = side.envelopes.find(one => isSealing(one) === (sealed ?? isSealing(side.envelopes[0])))
  if (!envelope) throw new Error('there is no such envelope')
  // What a configuration has ended to seal was sealed before.
  const writing = isSealing(envelope)
    ? a1(keyring(side.keys.current ?? side.keys.find(side.keys.ids[0] ?? 0), []))
    : envelope
  const key = keysOf(side.naming, envelope.suffix, { uuid, type })[0]
  await side.store.put(key, writing.seal(sourceOf(bytes)), never)
  return { uuid, type, key, bytes }
}

/** As Orthanc reads it there. */
export async function read(side: Side, { uuid, type }: Written): Promise<Buffer> {
  for (const envelope of side.envelopes) {
    const key = keysOf(side.naming, envelope.suffix, { uuid, type })[0]
    if (!(await side.store.stat(key, never))) continue
    const bytes = await collect(await side.store.get(key, undefined, never))
    const mayBeThis = side.naming.structure === 'flat' || side.envelopes.length === 1
    if (!mayBeThis && isSealing(envelope) !== (keyIdOf(bytes) !== undefined)) continue
    return await collect(envelope.unseal({ size: bytes.byteLength, body: sourceOf(bytes).open() }))
  }
  throw new Error(`no ${uuid}`)
}

export async function keysIn({ store }: Side): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list('', never)) keys.push(key)
  return keys
}

export interface CopyRun {
  readonly tally: CopyTally
  readonly complete: boolean
  readonly lines: readonly Line[]
  readonly failures: readonly Fault[]
  readonly error: Fault | undefined
}

export interface RunOptions extends Partial<CopyOptions> {
  /** Of the state file; else one of its own. */
  readonly state?: string
  readonly files?: readonly Written[]
}

export const newState = () => join(folder, randomUUID())

export async function copy(from: Side, to: Side, more: RunOptions = {}, signal = never): Promise<CopyRun> {
  const plan = planOf(from, to)
  const types = new Map((more.files ?? []).map(({ uuid, type }) => [uuid, type]))
  const work = new Copy({
    ...{ from, to, plan, concurrency: 8, dryRun: false, deep: false, identity: {} },
    transfer: new Transfer({ from, to, plan, budget: new Budget(BUDGET_BYTES), again: one => one() }),
    typesOf: () => uuid => types.get(uuid),
    ...more,
  })
  const state = more.state === undefined ? stateInMemory() : new State(more.state, { command: work.name })
  const failures: Fault[] = []
  const alone = new Alone({ work, state, onFailure: fault => failures.push(fault) })
  try {
    const error = await alone.run(signal).then(
      () => undefined,
      fault => fault as Fault,
    )
    const { tally, complete, lines } = alone.outcome
    return { tally: copyTally(tally), complete, lines: [...lines()], failures, error }
  } finally {
    state.close()
  }
}

/** As good as a file, for who does not look into it later. */
function stateInMemory(): State {
  const lines: Line[] = []
  const state: Pick<State, 'done' | 'begin' | 'line' | 'finish' | 'lines' | 'close'> = {
    done: () => new Map(),
    begin: () => undefined,
    line: (_shard, line) => void lines.push(line),
    finish: () => {},
    lines: () => lines,
    close: () => {},
  }
  return state as State
}

/** Its functions in place of those of the store. */
export const changed = (store: Store, changes: (store: Store) => Partial<Store>): Store => ({
  ...store,
  ...changes(store),
})
