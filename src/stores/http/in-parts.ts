import pLimit from 'p-limit'
import { type Bytes, openWhole, type Range, type Source, sliceOf } from '../../bytes.ts'
import { Fault, throwIfAborted } from '../../fault.ts'
import { type Digests, hasher, hashers } from '../digest.ts'
import type { Store } from '../store.ts'
import { readAnswer } from './answer.ts'
import type { Begun, Draft, HttpAnswer, Receipt } from './dialect.ts'
import type { Expected } from './look.ts'
import type { Transfers } from './transfer.ts'

const MB = 1024 * 1024
const ABANDON_MS = 10_000

/** The ranges that an object of `size` bytes goes up in. */
function partsOf(size: number, { transfer, dialect: { parts } }: Transfers): readonly Range[] {
  const least = Math.max(transfer.partBytes, parts.smallestPart, size / parts.mostParts)
  const bytes = Math.ceil(least / MB) * MB
  const count = Math.ceil(size / bytes)
  return Array.from({ length: count }, (_, i) => ({ start: i * bytes, end: Math.min((i + 1) * bytes, size) }))
}

/** Uploads large objects in parts that become visible together. */
export function uploadsInParts(all: Transfers): Pick<Store, 'put'> & { holds: NonNullable<Store['holds']> } {
  return {
    put: (key, body, signal) => upload(all, key, body, signal),
    holds: (key, body, signal) => holds(all, key, body, signal),
  }
}

async function upload(all: Transfers, key: string, body: Source, signal: AbortSignal): Promise<void> {
  const { dialect, look, slot, again, buffers } = all
  const { parts } = dialect
  const ranges = partsOf(body.size, all)
  const { id, ofParts, ofWhole } = await beginUpload(all, key, signal)
  const stop = new AbortController()
  const anySignal = AbortSignal.any([signal, stop.signal])
  const whole = hashers(ofWhole)
  let wholeDigests: Digests | undefined
  // If it took all slots at once, every other transfer would wait until its last part is sent.
  const few = pLimit(all.transfer.concurrency)
  const inTurn = pLimit(1) // the source is read from its beginning to its end, which the digest of the whole needs
  /** Whether the request that ends the upload may have been carried out, though its answer was lost. */
  let doubtful = false

  async function doubting<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request()
    } catch (error) {
      doubtful ||= error instanceof Fault && error.doubtful
      throw error
    }
  }

  async function sendPart(range: Range, i: number): Promise<Receipt> {
    const ofPart = hashers(ofParts)
    const bytes = buffers.take(range.end - range.start, ranges[0]?.end ?? 0)
    await inTurn(async () => {
      let at = 0
      // Each chunk is hashed while it is still in the processor's cache.
      for await (const chunk of endedBy(anySignal, openWhole(sliceOf(body, range)))) {
        whole.update(chunk)
        ofPart.update(chunk)
        bytes.set(chunk, at)
        at += chunk.byteLength
      }
    })
    const last = i === ranges.length - 1
    if (last && ofWhole.length > 0) wholeDigests = whole.digests()
    const digests = ofPart.digests()
    sent[i] = digests
    const part = { number: i + 1, range, total: body.size, digests, whole: wholeDigests }
    const draft = parts.part(key, id, part)
    let requests = 0
    const request = async () => {
      requests++
      return parts.receipt(await exchange(all, draft, anySignal, bytes), part, id)
    }
    const receipt = await again(anySignal, () => (last && parts.inOrder ? doubting(request) : request()))
    if (requests === 1) buffers.give(bytes) // a request that failed may still be sending them
    return receipt
  }
  const sendInSlot = (range: Range, i: number) => few(() => slot(() => sendPart(range, i)))

  const sent: Digests[] = []
  let fromSource: Promise<Expected> | undefined
  /**
   * What was sent, by the digests of the parts or of the whole where they tell it. Only else the source is read once
   * more: it may be the very object that this upload replaces (rotate-keys).
   */
  async function expected(): Promise<Expected> {
    const name = dialect.describedBy
    const again = () => (fromSource ??= expectedOf(all, body, signal))
    const digest = wholeDigests?.[name]
    const known = sent.flatMap(({ [name]: ofPart }) => ofPart ?? [])
    const isComplete = known.length === ranges.length
    if (!isComplete && digest === undefined) return again()
    return {
      size: body.size,
      digest,
      ...(isComplete && { parts: known }),
      compute: async () => (await again()).compute(),
    }
  }
  /** Whether the object is there although no answer said so. */
  async function isThere(): Promise<boolean> {
    return doubtful && (await look.holds(key, await expected(), signal))
  }

  try {
    const receipts: Receipt[] = []
    if (parts.inOrder) for (const [i, range] of ranges.entries()) receipts.push(await sendInSlot(range, i))
    else receipts.push(...(await allOrNone(ranges.map(sendInSlot), stop)))
    const finish = parts.finish(key, id, receipts, wholeDigests)
    if (!finish) return
    await again(signal, async () => {
      if (await isThere()) return
      await doubting(async () => parts.finished?.(await exchange(all, finish, signal), wholeDigests))
    })
  } catch (error) {
    if (!signal.aborted && (await isThere().catch(() => false))) return
    await abandon(all, key, id)
    throw error
  }
}

async function beginUpload(all: Transfers, key: string, signal: AbortSignal): Promise<Begun> {
  const { dialect, again } = all
  const begin = dialect.parts.begin(key)
  if (!begin) return dialect.parts.begun(undefined, begin)
  const begun = await again(signal, async () => dialect.parts.begun(await exchange(all, begin, signal), begin))
  if (!begun.again) return begun
  await abandon(all, key, begun.id)
  return beginUpload(all, key, signal)
}

async function exchange({ send }: Transfers, draft: Draft, signal: AbortSignal, bytes?: Buffer): Promise<HttpAnswer> {
  return readAnswer(await send('write', draft, signal, bytes, bytes?.byteLength), signal)
}

async function holds(all: Transfers, key: string, body: Source, signal: AbortSignal): Promise<boolean> {
  return all.look.holds(key, await expectedOf(all, body, signal), signal)
}

/** The object as a whole, and by the parts that it would go up in. */
async function expectedOf(all: Transfers, body: Source, signal: AbortSignal): Promise<Expected> {
  const name = all.dialect.describedBy
  const digest = hasher(name)
  const parts: string[] = []
  for (const range of partsOf(body.size, all)) {
    const part = hasher(name)
    for await (const chunk of body.open(range)) {
      throwIfAborted(signal)
      digest.update(chunk)
      part.update(chunk)
    }
    parts.push(part.digest())
  }
  const found = digest.digest()
  return { size: body.size, digest: found, parts, compute: async () => found }
}

/** Best effort: the network has probably made the upload fail. The first failure is the one to report. */
async function abandon({ dialect, send, again }: Transfers, key: string, id: string): Promise<void> {
  const draft = dialect.parts.abandon(key, id)
  if (!draft) return
  const signal = AbortSignal.timeout(ABANDON_MS)
  await again(signal, async () => (await send('remove', draft, signal)).body.dump()).catch(() => undefined)
}

/** All results, or the first fault: then the others are stopped, and have ended when it is thrown. */
async function allOrNone<T>(working: readonly Promise<T>[], stop: AbortController): Promise<T[]> {
  try {
    return await Promise.all(working)
  } catch (error) {
    stop.abort(error)
    await Promise.allSettled(working)
    throw error
  }
}

/** Ends when `signal` is aborted: an upload that has failed must not ask for more bytes of its source. */
async function* endedBy(signal: AbortSignal, body: Bytes): Bytes {
  throwIfAborted(signal)
  for await (const chunk of body) {
    yield chunk
    throwIfAborted(signal)
  }
}
