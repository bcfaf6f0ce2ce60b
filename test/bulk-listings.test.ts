/** The listings of shards: the same objects as shard by shard, in fewer requests. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { prefixOf } from '../src/area/naming.ts'
import { Listings } from '../src/bulk/listings.ts'
import { prefixesOf } from '../src/bulk/shards.ts'
import { SHARDS, type Shard } from '../src/bulk/work.ts'
import { sourceOf } from '../src/bytes.ts'
import { Fault, isCode } from '../src/fault.ts'
import { Import } from '../src/import/import.ts'
import { keyring } from '../src/seal/keyring.ts'
import type { Stat, Store } from '../src/stores/store.ts'
import { Usage } from '../src/usage/usage.ts'
import { copy, makeSide, write } from './support/copy-stage.ts'
import { memoryStore } from './support/memory-store.ts'
import { filled, newState, rotate } from './support/rotation.ts'
import { makeSite } from './support/verify-stage.ts'

const never = new AbortController().signal
const naming = { rootPath: 'pacs', structure: 'flat', legacyUnknownFiles: false } as const
const root = prefixOf(naming)
const PAGE = 1000

const statOf = (key: string): Stat => ({ key, size: 1, modified: new Date(0) })

/** A store that counts its pages. */
function storeOf(keys: readonly string[]) {
  const sorted = [...keys].sort()
  const counted = { pages: 0, listings: 0 }
  async function* list(prefix: string) {
    counted.listings++
    counted.pages++
    let given = 0
    for (const key of sorted) {
      if (!key.startsWith(prefix)) continue
      if (given++ % PAGE === PAGE - 1) counted.pages++
      yield statOf(key)
    }
  }
  return { list, counted }
}

async function keysOf(list: AsyncIterable<Stat>): Promise<readonly string[]> {
  const keys: string[] = []
  for await (const { key } of list) keys.push(key)
  return keys
}

async function allShards(listings: Pick<Listings, 'list'>) {
  const found: string[][] = []
  for (let shard = 0; shard < SHARDS; shard++) {
    const all: string[] = []
    for (const prefix of prefixesOf(naming, shard)) all.push(...(await keysOf(listings.list(prefix, never))))
    found.push(all)
  }
  return found
}

/** Counts all listings from now on. */
function counting(store: Store): { listings: number } {
  const counted = { listings: 0 }
  const { list } = store
  Object.assign(store, {
    list(...words: Parameters<typeof list>) {
      counted.listings++
      return list(...words)
    },
  })
  return counted
}

const allOf = async (work: { shard(shard: Shard, signal: AbortSignal): Promise<unknown> }) => {
  for (let number = 0; number < SHARDS; number++)
    await work.shard(
      { number, remembered: undefined, remember() {}, line() {}, failed: assert.fail, async *given() {} },
      never,
    )
}

/** What each command asks of a store of 20 files. */
const COMMANDS: Readonly<Record<string, () => Promise<readonly { readonly listings: number }[]>>> = {
  'rotate-keys': async () => {
    const { store } = await filled(20)
    const counted = counting(store)
    await rotate(store)
    return [counted]
  },
  usage: async () => {
    const { store } = await filled(20)
    const counted = counting(store)
    const places = [{ tier: 'object-storage', store, naming }] as const
    await allOf(new Usage({ places, keyIds: false, all: true, concurrency: 4, identity: {} }))
    return [counted]
  },
  import: async () => {
    const store = memoryStore()
    for (const key of uuids(20)) await store.put(key, sourceOf(Buffer.alloc(200, 'x')), never)
    const counted = counting(store)
    const again = <T>(work: () => Promise<T>) => work()
    const keys = keyring(undefined, [])
    await allOf(
      new Import({ places: [{ store, naming }], keys, receiver: undefined, again, concurrency: 4, identity: {} }),
    )
    return [counted]
  },
  verify: async () => {
    const site = makeSite()
    for (let i = 0; i < 20; i++) await site.add()
    const counted = counting(site.store)
    assert.equal((await site.shared(newState())).ended, undefined)
    return [counted]
  },
  'copy, with nothing to do': async () => {
    const [from, to] = [makeSide(), makeSide()]
    for (let i = 0; i < 20; i++) await write(from, {})
    await copy(from, to)
    const counted = [counting(from.store), counting(to.store)]
    assert.ok((await copy(from, to)).complete)
    return counted
  },
}

const uuids = (count: number) => Array.from({ length: count }, () => `${root}${randomUUID()}.dcm`)
const OTHERS = [`${root}cloud-storage-trash/aa.dcm`, `${root}AB.dcm`, `${root}Cd.dcm`, `${root}zz`, 'other/aa.dcm']

describe('listings of shards', () => {
  for (const [what, count, most, listings] of [
    ['nothing', 0, 10, 1],
    ['a small store', 300, 1_000, 1],
    ['a store that is small by one digit', 3_000, 400, 1 + 22],
    ['a large store', 3_000, 20, 1 + 22 + 484],
  ] as const)
    it(`are those of the store, in ${listings} listings: ${what}`, async () => {
      const store = storeOf([...uuids(count), ...OTHERS])
      const each = storeOf(await keysOf(store.list('')))
      store.counted.listings = 0
      assert.deepEqual(await allShards(new Listings(store, root, most)), await allShards(each))
      // By one digit, the few keys with capital letters are in listings of their own, which are small.
      assert.ok(store.counted.listings <= listings, `${store.counted.listings} listings`)
    })

  for (const [command, run] of Object.entries(COMMANDS))
    it(`of a small store are a few for ${command}`, async () => {
      for (const { listings } of await run()) assert.ok(listings >= 1 && listings <= 3, `${listings} listings`)
    })

  it('share what is listed at the same time', async () => {
    const store = storeOf(uuids(50))
    const listings = new Listings(store, root)
    await Promise.all(prefixesOf(naming, 0xab).map(prefix => keysOf(listings.list(prefix, never))))
    assert.equal(store.counted.listings, 1)
  })

  it('go on for the other shards when the one that began them is canceled', async () => {
    const first = new AbortController()
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    let calls = 0
    async function* list(_prefix: string, signal: AbortSignal): AsyncGenerator<Stat> {
      if (++calls > 1) return yield statOf(`${root}ab.dcm`)
      begin()
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      throw Fault.ofAbort(signal)
    }
    const listings = new Listings({ list }, root)
    const one = keysOf(listings.list(`${root}aa`, first.signal))
    const other = keysOf(listings.list(`${root}ab`, never))
    await begun
    first.abort()
    await assert.rejects(one, error => isCode(error, 'Canceled'))
    assert.deepEqual(await other, [`${root}ab.dcm`])
  })

  it('fail as the store does, and are tried again by the next shard', async () => {
    let calls = 0
    async function* list(): AsyncGenerator<Stat> {
      if (++calls === 1) throw new Fault('Unavailable', 'not now')
      yield statOf(`${root}ab.dcm`)
    }
    const listings = new Listings({ list }, root)
    await assert.rejects(keysOf(listings.list(`${root}aa`, never)), error => isCode(error, 'Unavailable'))
    assert.equal(calls, 1)
    assert.deepEqual(await keysOf(listings.list(`${root}ab`, never)), [`${root}ab.dcm`])
  })
})
