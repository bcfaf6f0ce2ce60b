import pLimit from 'p-limit'
import { type Bytes, collect, openWhole, type Range, type Source, sliceOf } from '../../bytes.ts'
import { Fault, throwIfAborted } from '../../fault.ts'
import { digestOf, digestOfSource, hasher } from '../digest.ts'
import { readAnswer } from './answer.ts'
import type { Draft, HttpAnswer } from './dialect.ts'
import type { Transfers } from './transfer.ts'

const MB = 1024 * 1024
const ABANDON_MS = 10_000

/** What one part is, once it has arrived. */
interface SentPart {
  readonly receipt: string
  readonly digest: string
}

/** The ranges that an object of `size` bytes goes up in. */
function partsOf(size: number, { transfer, dialect: { parts } }: Transfers): readonly Range[] {
  const least = Math.max(transfer.partBytes, parts.smallestPart, size / parts.mostParts)
  const bytes = Math.ceil(least / MB) * MB
  const count = Math.ceil(size / bytes)
  return Array.from({ length: count }, (_, i) => ({ start: i * bytes, end: Math.min((i + 1) * bytes, size) }))
}

/** A large object up in parts that become visible together. */
export function uploadsInParts(all: Transfers) {
  const { dialect, send, look, slot, again } = all
  const { parts } = dialect

  async function exchange(draft: Draft, signal: AbortSignal, bytes?: Buffer): Promise<HttpAnswer> {
    return readAnswer(await send('write', draft, signal, bytes, bytes?.byteLength), signal)
  }

  async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
    const ranges = partsOf(body.size, all)
    const begin = parts.begin(key)
    const id = await (begin
      ? again(signal, async () => parts.uploadId(await exchange(begin, signal)))
      : parts.uploadId(undefined))
    const stop = new AbortController()
    const anySignal = AbortSignal.any([signal, stop.signal])
    const whole = hasher(dialect.digest)
    let wholeDigest: string | undefined
    // All parts at once would keep the slots from every other transfer until the last of them is sent.
    const few = pLimit(all.transfer.concurrency)
    const slotInTurn = (work: () => Promise<SentPart>) => few(() => slot(work))
    const inTurn = pLimit(1) // the source is read from its beginning to its end, which the digest of the whole needs
    /** Whether the request that ends the upload may have been carried out, though its answer was lost. */
    let doubtful = false

    const sendPart = (range: Range, i: number): Promise<SentPart> =>
      slotInTurn(async () => {
        const bytes = await inTurn(async () => {
          const slice = sliceOf(body, range)
          const read = await collect({ size: slice.size, body: until(anySignal, openWhole(slice)) })
          if (parts.wantsWhole) whole.update(read)
          return read
        })
        const digest = digestOf(dialect.digest, bytes)
        const last = i === ranges.length - 1
        if (last && parts.wantsWhole) wholeDigest = whole.digest()
        const part = { number: i + 1, range, total: body.size, digest: () => digest, whole: wholeDigest }
        const draft = parts.part(key, id, part)
        const receipt = await again(anySignal, () =>
          doubting(last && parts.inOrder, async () => parts.receipt(await exchange(draft, anySignal, bytes), part, id)),
        )
        return { receipt, digest }
      })

    async function doubting<T>(ends: boolean, request: () => Promise<T>): Promise<T> {
      try {
        return await request()
      } catch (error) {
        doubtful ||= ends && error instanceof Fault && error.doubtful
        throw error
      }
    }

    const sent: SentPart[] = []
    /** Whether the object is there although nobody was told so. */
    async function isThere(): Promise<boolean> {
      if (!doubtful) return false
      const expected = {
        size: body.size,
        digest: wholeDigest,
        parts: sent.map(part => part.digest),
        compute: () => digestOfSource(dialect.digest, body, signal),
      }
      return look.holds(key, expected, signal)
    }

    async function complete(draft: Draft): Promise<void> {
      await again(signal, async () => {
        if (await isThere()) return
        await doubting(true, async () => {
          const answer = await exchange(draft, signal)
          parts.finished?.(answer)
        })
      })
    }

    try {
      if (parts.inOrder) for (const [i, range] of ranges.entries()) sent.push(await sendPart(range, i))
      else sent.push(...(await allOrNone(ranges.map(sendPart), stop)))
      const receipts = sent.map(({ receipt }) => receipt)
      const finish = parts.finish(key, id, receipts, wholeDigest)
      if (finish) await complete(finish)
    } catch (error) {
      if (!signal.aborted && (await isThere().catch(() => false))) return
      await abandon(key, id)
      throw error
    }
  }

  /** As a whole, and in the parts that it would go up in. */
  async function holds(key: string, body: Source, signal: AbortSignal): Promise<boolean> {
    const digest = hasher(dialect.digest)
    const parts: string[] = []
    for (const range of partsOf(body.size, all)) {
      const part = hasher(dialect.digest)
      for await (const chunk of body.open(range)) {
        throwIfAborted(signal)
        digest.update(chunk)
        part.update(chunk)
      }
      parts.push(part.digest())
    }
    const found = digest.digest()
    return look.holds(key, { size: body.size, digest: found, parts, compute: async () => found }, signal)
  }

  /** Best effort, on the network that most probably has made the upload fail: the first failure is the one to report. */
  async function abandon(key: string, id: string): Promise<void> {
    const draft = parts.abandon(key, id)
    if (!draft) return
    const signal = AbortSignal.timeout(ABANDON_MS)
    await again(signal, async () => (await send('remove', draft, signal)).body.dump()).catch(() => undefined)
  }

  return { put, holds }
}

/** All of them, or the first fault: then the others are stopped, and have ended when it is thrown. */
async function allOrNone<T>(working: readonly Promise<T>[], stop: AbortController): Promise<T[]> {
  try {
    return await Promise.all(working)
  } catch (error) {
    stop.abort(error)
    await Promise.allSettled(working)
    throw error
  }
}

/** Ends when `signal` does. Whoever reads a source for an upload that has failed must not go on asking for its bytes. */
async function* until(signal: AbortSignal, body: Bytes): Bytes {
  throwIfAborted(signal)
  for await (const chunk of body) {
    yield chunk
    throwIfAborted(signal)
  }
}
