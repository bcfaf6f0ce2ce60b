import { Fault, isCode, throwFault, throwIfAborted } from '../../fault.ts'
import type { Leftover, Stat, Store } from '../store.ts'
import { attempt } from '../wrappers/retry.ts'
import { readAnswer } from './answer.ts'
import { checkOf } from './check.ts'
import { dateOf } from './clock.ts'
import type { Dialect, HttpAnswer, LeftoverTools } from './dialect.ts'
import { inOneRequest } from './in-one.ts'
import { uploadsInParts } from './in-parts.ts'
import { readInRanges } from './in-ranges.ts'
import { createLook } from './look.ts'
import type { HttpStoreOptions } from './options.ts'
import { removesMany } from './remove-many.ts'
import { createSend } from './send.ts'
import { createTransfers } from './transfer.ts'

const LONGEST_PAGE_TEXT = 16 * 1024 * 1024

/** The one store that talks HTTP. What differs between providers is in `dialect`. */
export function httpStore(dialect: Dialect, options: HttpStoreOptions): Store {
  const { dispatcher, policy, log } = options
  const send = createSend(dialect, options)
  const look = createLook(dialect, send)
  const transfers = createTransfers(dialect, send, look, options)
  const one = inOneRequest(dialect, send, look)
  const parts = uploadsInParts(transfers)
  const { largestPut } = dialect.parts
  /** Larger objects go up in parts. Bytes. */
  const largest = options.transfer ? Math.min(transfers.transfer.partBytes, largestPut) : largestPut
  const upload = (size: number) => (size > largest ? parts : one)

  async function stat(key: string, signal: AbortSignal): Promise<Stat | undefined> {
    const answer = await look.ask(key, signal)
    return answer && told(answer)(dialect.statOf(key, answer))
  }

  async function remove(key: string, signal: AbortSignal): Promise<void> {
    try {
      const answer = await send('remove', dialect.remove(key), signal)
      await answer.body.dump()
      // Some servers give no mark with a removal; then it is a success only if the object is gone.
      if (dialect.marked(answer.headers)) return
      const left = await look.ask(key, signal)
      if (!left) return
      dialect.statOf(key, left) // throws when a stranger has answered that, too
    } catch (error) {
      if (isCode(error, 'NotFound')) return
      throw error
    }
    throw new Fault('Unavailable', 'the server answered the removal with success, but the object is still there')
  }

  const removeMany = removesMany(dialect, send, remove, options)

  const again = <T>(work: () => Promise<T>, signal: AbortSignal) => attempt(work, policy, signal, log)

  /** Of a listing. */
  const page: LeftoverTools['page'] = (draft, read, signal) =>
    again(async () => {
      const answer = await readAnswer(await send('list', draft, signal), signal, LONGEST_PAGE_TEXT)
      return { page: read(answer), asOf: timeOf(answer) }
    }, signal)

  async function* list(prefix: string, signal: AbortSignal): AsyncIterable<Stat> {
    let from: string | undefined
    do {
      const read = (answer: HttpAnswer) => ({ ...dialect.page(answer), dated: told(answer) })
      const { page: found } = await page(dialect.list(prefix, from), read, signal)
      for (const object of found.objects) {
        yield found.dated(object)
        throwIfAborted(signal)
      }
      if (found.next !== undefined && found.next === from)
        throw new Fault('Internal', 'the listing does not advance: the server names the same next page again')
      from = found.next
    } while (from !== undefined)
  }

  const ofUploads = dialect.leftovers({
    page,
    stat: (key, signal) => again(() => stat(key, signal), signal),
    async remove(draft, signal) {
      const { headers, body } = await send('remove', draft, signal)
      await body.dump()
      return headers
    },
  })

  async function* leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover> {
    throwIfAborted(signal)
    for await (const leftover of ofUploads.leftovers(prefix, signal)) {
      yield leftover
      throwIfAborted(signal)
    }
  }

  async function removeLeftover(leftover: Leftover, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    await ofUploads.removeLeftover(leftover, signal)
  }

  return {
    name: dialect.name,
    put: (key, body, signal) => upload(body.size).put(key, body, signal).catch(throwFault),
    holds: (key, body, signal) => upload(body.size).holds(key, body, signal).catch(throwFault),
    get: options.transfer ? readInRanges(transfers, one.get) : one.get,
    stat,
    remove,
    removeMany,
    list,
    leftovers,
    removeLeftover,
    check: checkOf(dialect, send),
    async close() {
      await dispatcher.destroy(new Fault('Canceled', 'the store was closed'))
    },
  }
}

/** Adds the time at which the store gave the answer. */
function told(answer: HttpAnswer): (stat: Stat) => Stat {
  const asOf = timeOf(answer)
  return asOf ? stat => ({ ...stat, asOf }) : stat => stat
}

function timeOf({ headers }: HttpAnswer): Date | undefined {
  const ms = dateOf(headers)
  return Number.isNaN(ms) ? undefined : new Date(ms)
}
