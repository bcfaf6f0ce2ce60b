/** Providers' answers: whatever comes back, what is said of it is true, or it is an error that somebody can read. */
import assert from 'node:assert/strict'
import { collect, sourceOf } from '../../src/bytes.ts'
import { Fault } from '../../src/fault.ts'
import type { Store } from '../../src/stores/store.ts'
import { type Cloud, openStore, type Provider, providers, startCloud } from '../clouds.ts'
import { fc } from '../property.ts'
import { never, noise } from '../store.suite.ts'
import type { Claim, Claims } from './claim.ts'
import { isOneLine } from './lines.ts'
import { meddling, type Tampering, tampering } from './tampering.ts'

const KEY = 'k'
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
  readonly verbs: readonly (keyof typeof verbs)[]
  readonly size: number
  readonly tamperings: readonly Tampering[]
}

const touches = (names: RegExp, { headers }: Tampering) => headers.some(([name]) => names.test(name))

/** Documented: where an answer does not tell the right digest, its bytes cannot be compared. */
const DIGESTS =
  /^(etag|x-amz-server-side-encryption|content-md5|x-ms-blob-content-md5|x-goog-hash|x-goog-stored-content-encoding|content-encoding)$/i
const changesBytes = ({ body }: Tampering) => body !== 'same'

const isMadeUp = ({ how }: Tampering) => how !== 'changed'

function cannotBeCompared(verb: string, { provider, known, tamperings }: Case): boolean {
  if (!tamperings.some(changesBytes)) return false
  // A part of an object has no digest.
  if (verb === 'range') return true
  if (tamperings.some(one => touches(DIGESTS, one))) return true
  // Before the store was met, a stranger with bytes and without a tag passes for a small server.
  if (!known && tamperings.some(isMadeUp)) return true
  // Two readings that agree, where nothing else is there to tell.
  return provider === 's3' && !known && tamperings.filter(changesBytes).length > 1
}

/** A store's own failure that was made a success on its way. */
const saysSuccess = ({ how, status }: Tampering) => how === 'changed' && status > 0 && status < 300

/** The size is a word of the store's own. */
const changesSize = (one: Tampering) => one.length !== 'right' || changesBytes(one) || touches(/^content-length$/i, one)

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
  for (let at: unknown = error; at instanceof Fault; at = at.cause)
    if (at.code === 'Internal' && at.cause !== undefined && !(at.cause instanceof Fault))
      assert.fail(`nobody foresaw: ${at.cause instanceof Error ? at.cause.stack : at.cause}`)
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
  const { provider, known, verbs: chosen, tamperings } = all
  const cloud = await cloudOf(provider)
  const store = openStore(provider, cloud.endpoint, { maxRetries: 2 })
  try {
    cloud.meddle = () => false
    cloud.objects.clear()
    if (known) await meet(store)
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

/** All that a store may learn. */
async function meet(store: Store): Promise<void> {
  await store.put('other', sourceOf(noise(100)), never)
  await collect(await store.get('other', undefined, never))
  await collect(await store.get('other', { start: 0, end: 10 }, never))
  await store.stat('other', never)
  await store.put('third', sourceOf(noise(10)), never)
  await store.remove('third', never)
}

/** A success without the store's doing may not have the store's mark, nor the words of a listing. */
function isFair({ tamperings, verbs: chosen, known }: Case): boolean {
  void known
  return tamperings.every(({ how, headers, status, body }) => {
    if (how === 'changed') return true
    if (chosen.includes('list') && /^(s3NoEnd)$/.test(body)) return true
    return status >= 300 || !headers.some(([name, value]) => value !== null && /^x-(amz|ms|goog|guploader)/i.test(name))
  })
}

const anyCase: fc.Arbitrary<Case> = fc
  .record({
    provider: fc.constantFrom(...providers),
    known: fc.boolean(),
    verbs: fc.array(fc.constantFrom(...(Object.keys(verbs) as (keyof typeof verbs)[])), { minLength: 1, maxLength: 5 }),
    size: fc.constantFrom(1, 5, 1000),
    tamperings: fc.uniqueArray(tampering, { minLength: 1, maxLength: 5, selector: ({ nth }) => nth }),
  })
  .filter(isFair)

const claim = (only: fc.Arbitrary<Case>, runs: number): Claim => ({ runs, property: fc.asyncProperty(only, holds) })

export const claims: Claims = {
  'what is said of an answer is true, whatever the answer is': claim(anyCase, 150),
}
