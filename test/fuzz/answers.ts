/** Providers' answers: whatever comes back, what is said of it is true, or it is an error that somebody can read. */
import assert from 'node:assert/strict'
import { collect, sourceOf } from '../../src/bytes.ts'
import { Fault } from '../../src/fault.ts'
import type { Store } from '../../src/stores/store.ts'
import { type Cloud, openStore, type Provider, providers, startCloud } from '../support/clouds.ts'
import { LONG } from '../support/long.ts'
import { fc } from '../support/property.ts'
import { never, noise } from '../support/store.suite.ts'
import type { Claim, Claims } from './claim.ts'
import { isForeseen, isOneLine } from './lines.ts'
import { meddling, type Tampering, tampering } from './tampering.ts'

const KEY = 'k'
const MB = 1024 * 1024
const clouds = new Map<Provider, Promise<Cloud>>()
function cloudOf(provider: Provider): Promise<Cloud> {
  const found = clouds.get(provider) ?? startCloud(provider)
  clouds.set(provider, found)
  return found
}

interface Case {
  readonly provider: Provider
  /** Whether the store has met the server before: then it knows how the server marks its answers. */
  readonly known: boolean
  /** Whether the object is there before. */
  readonly there?: boolean
  readonly verbs: readonly Verb[]
  readonly size: number
  readonly tamperings: readonly Tampering[]
}

const touches = (names: RegExp, { headers }: Tampering) => headers.some(([name]) => names.test(name))

/**
 * Documented: without the right digest in an answer, its bytes cannot be compared. A second digest beside it is
 * noticed.
 */
const DIGESTS =
  /^(etag|content-md5|x-ms-blob-content-md5|x-amz-server-side-encryption|x-goog-hash|x-goog-stored-content-encoding|X-.*)$/
const changesBytes = ({ body }: Tampering) => body !== 'same'

const isMadeUp = ({ how }: Tampering) => how !== 'changed'

function cannotBeCompared(verb: string, { provider, known, size, tamperings }: Case): boolean {
  if (!tamperings.some(changesBytes)) return false
  // A part of an object has no digest, nor has one that went up in parts, on S3.
  if (verb === 'range' || (provider === 's3' && size > MB)) return true
  if (tamperings.some(one => touches(DIGESTS, one))) return true
  // Before the store was met, a stranger with bytes and without a tag passes for a small server.
  if (!known && tamperings.some(isMadeUp)) return true
  // Two readings that agree, if nothing else shows the right bytes.
  return provider === 's3' && !known && tamperings.filter(changesBytes).length > 1
}

/** A store's own failure that was made a success on its way. */
const saysSuccess = ({ how, status }: Tampering) => how === 'changed' && status > 0 && status < 300

/** The size is a word of the store's own. */
const changesSize = ({ length, body }: Tampering) => length !== 'right' || body === 'flip' || body === 'updatedObject'

type Verb = keyof typeof verbs
const verbs = {
  async put(store: Store, cloud: Cloud, { size }: Case) {
    const bytes = noise(size, cloud.seen.length + 1)
    await store.put(KEY, sourceOf(bytes), never)
    assert.ok(cloud.objects.get(KEY)?.equals(bytes), 'a write that did not happen is a success')
  },
  async get(store: Store, cloud: Cloud, all: Case) {
    const bytes = await collect(await store.get(KEY, undefined, never))
    if (cannotBeCompared('get', all)) return
    if (!cloud.objects.has(KEY) && all.tamperings.some(saysSuccess)) return
    assert.ok(cloud.objects.get(KEY)?.equals(bytes), 'other bytes are delivered')
  },
  async range(store: Store, cloud: Cloud, all: Case) {
    const bytes = await collect(await store.get(KEY, { start: 1, end: 5 }, never))
    assert.equal(bytes.byteLength, 4)
    if (cannotBeCompared('range', all)) return
    if (!cloud.objects.has(KEY) && all.tamperings.some(saysSuccess)) return
    assert.ok(cloud.objects.get(KEY)?.subarray(1, 5).equals(bytes), 'other bytes are delivered')
  },
  async stat(store: Store, cloud: Cloud, { known, tamperings }: Case) {
    const found = await store.stat(KEY, never)
    const there = cloud.objects.get(KEY)
    if (!there && tamperings.some(saysSuccess)) return
    if (!known && found && tamperings.some(isMadeUp)) return
    assert.equal(found === undefined, there === undefined, 'what is said of its existence is wrong')
    assert.ok(!found || (Number.isSafeInteger(found.size) && found.size >= 0), `a size of ${found?.size}`)
    if (!tamperings.some(changesSize)) assert.equal(found?.size, there?.byteLength)
  },
  async remove(store: Store, cloud: Cloud) {
    await store.remove(KEY, never)
    assert.ok(!cloud.objects.has(KEY), 'a removal that did not happen is a success')
  },
  async removeMany(store: Store, cloud: Cloud) {
    const removals = await store.removeMany([KEY, 'another-one'], never)
    for (const [key, removal] of removals) {
      assert.ok([KEY, 'another-one'].includes(key), 'a key is judged that nobody asked for')
      if (removal === 'gone') assert.ok(!cloud.objects.has(key), 'a removal that did not happen is a success')
      else sound(removal, cloud, cloud.objects.has(key))
    }
  },
  async list(store: Store, cloud: Cloud, { tamperings }: Case) {
    const found: string[] = []
    for await (const { key, size } of store.list('', never)) {
      assert.ok(typeof key === 'string' && Number.isSafeInteger(size) && size >= 0, `listed: ${key} of ${size}`)
      found.push(key)
    }
    if (tamperings.some(({ body, how }) => body === 'flip' && how === 'changed')) return
    assert.deepEqual(found, [...cloud.objects.keys()].sort())
  },
  async check(store: Store) {
    await store.check(never, { warn: line => assert.ok(isOneLine(line), line) })
  },
  async status(store: Store) {
    await store.check(never, { purpose: 'status' })
  },
}

/** Whether an error is one that we made, says no secret, and is a line that somebody can read. */
function sound(error: unknown, cloud: Cloud, truth: boolean): void {
  assert.ok(error instanceof Fault, `no Fault: ${error instanceof Error ? error.stack : error}`)
  assert.ok(isForeseen(error), `nobody foresaw: ${error.cause instanceof Error ? error.cause.stack : error.message}`)
  const line = error.describe()
  assert.ok(isOneLine(line), `no short line: ${JSON.stringify(line.slice(0, 3000))}`)
  assert.ok(
    isOneLine(error.message.replace(/\s/g, ' ')),
    `no short message: ${JSON.stringify(error.message.slice(0, 3000))}`,
  )
  for (const { headers, url } of cloud.seen) {
    const secrets = [
      /Signature=(\w+)/.exec(String(headers.authorization))?.[1],
      /SharedKey [^:]+:(.+)/.exec(String(headers.authorization))?.[1],
    ]
    for (const secret of [...secrets, url.searchParams.get('sig')])
      assert.ok(!secret || !line.includes(secret), `shows a signature: ${line}`)
  }
  if (error.code === 'NotFound') assert.ok(!truth, 'what is there is said to be absent')
}

/** Requests that one verb may take, however often it is repeated. */
const MOST_REQUESTS = 60

async function holds(all: Case): Promise<void> {
  const { provider, known, there = false, verbs: chosen, tamperings, size } = all
  const cloud = await cloudOf(provider)
  const s3 = size > MB ? { transfer: { concurrency: 2, partBytes: 5 * MB } } : {}
  const store = openStore(provider, cloud.endpoint, { maxRetries: 2, s3 })
  try {
    cloud.meddle = () => false
    cloud.objects.clear()
    if (known) await meet(store)
    if (there) await placed(provider, cloud, size)
    const meddle = meddling(tamperings)
    cloud.meddle = meddle
    for (const verb of chosen) {
      cloud.seen.length = 0
      try {
        await verbs[verb](store, cloud, all)
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        sound(error, cloud, cloud.objects.has(KEY))
      }
      assert.ok(cloud.seen.length <= MOST_REQUESTS, `${verb} took ${cloud.seen.length} requests`)
    }
  } finally {
    cloud.meddle = () => false
    await store.close()
  }
}

/** By somebody else, so that the store learns nothing. */
async function placed(provider: Provider, { endpoint }: Cloud, size: number): Promise<void> {
  const other = openStore(provider, endpoint)
  await other.put(KEY, sourceOf(noise(size)), never)
  await other.close()
}

/** All that a store may learn. */
async function meet(store: Store): Promise<void> {
  await store.put('other', sourceOf(noise(100)), never)
  await collect(await store.get('other', undefined, never))
  await collect(await store.get('other', { start: 0, end: 10 }, never))
  await store.stat('other', never)
  await store.put('third', sourceOf(noise(10)), never)
  await store.remove('third', never)
}

/** A success that is none of the store's may not have the store's mark. */
function isFair({ tamperings }: Case): boolean {
  return tamperings.every(
    ({ how, headers, status }) =>
      how === 'changed' ||
      status >= 300 ||
      !headers.some(([name, value]) => value !== null && /^x-(amz|ms|goog|guploader)/i.test(name)),
  )
}

const anyCase: fc.Arbitrary<Case> = fc
  .record({
    provider: fc.constantFrom(...providers),
    known: fc.boolean(),
    there: fc.boolean(),
    verbs: fc.array(fc.constantFrom(...(Object.keys(verbs) as Verb[])), { minLength: 1, maxLength: 3 }),
    size: fc.constantFrom(1, 5, 1000),
    tamperings: fc.uniqueArray(tampering, { minLength: 1, maxLength: 3, selector: ({ nth }) => nth }),
  })
  .filter(isFair)

/** Above what goes up in one request. */
const LARGE: Readonly<Record<Provider, number>> = { s3: 5 * MB + 1, azure: 32 * MB + 1, gcs: 64 * MB + 1 }
const large = (which: readonly Provider[]): fc.Arbitrary<Case> =>
  fc
    .record({
      provider: fc.constantFrom(...which),
      known: fc.boolean(),
      verbs: fc.constantFrom<readonly Verb[]>(['put'], ['put', 'stat'], ['put', 'get'], ['put', 'remove']),
      tamperings: fc.uniqueArray(tampering, { minLength: 1, maxLength: 4, selector: ({ nth }) => nth }),
    })
    .map(one => ({ ...one, size: LARGE[one.provider] }))
    .filter(isFair)

const claim = (only: fc.Arbitrary<Case>, runs: number): Claim => ({ runs, property: fc.asyncProperty(only, holds) })

export const claims: Claims = {
  'what is said of an answer is true, whatever the answer is': claim(anyCase, 200),
  'what is said of an upload in parts is true, whatever is answered to its parts': claim(large(['s3']), 4),
  'what is said of an upload in blocks or a session is true, whatever is answered to it': claim(
    large(LONG ? ['azure', 'gcs'] : ['azure']),
    LONG ? 20 : 1,
  ),
}
