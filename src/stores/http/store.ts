import { Fault, isCode, throwFault, throwIfAborted } from '../../fault.ts'
import type { Stat, Store } from '../store.ts'
import { attempt } from '../wrappers/retry.ts'
import { readAnswer } from './answer.ts'
import { checkOf } from './check.ts'
import { dateOf } from './clock.ts'
import type { Dialect, HttpAnswer } from './dialect.ts'
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

  async function* list(prefix: string, signal: AbortSignal): AsyncIterable<Stat> {
    let from: string | undefined
    do {
      const read = async () => {
        const sent = await send('list', dialect.list(prefix, from), signal)
        const answer = await readAnswer(sent, signal, LONGEST_PAGE_TEXT)
        return { ...dialect.page(answer), dated: told(answer) }
      }
      const page = await attempt(read, policy, signal, log)
      for (const object of page.objects) {
        yield page.dated(object)
        throwIfAborted(signal)
      }
      if (page.next !== undefined && page.next === from)
        throw new Fault('Internal', 'the listing does not advance: the server names the same next page again')
      from = page.next
    } while (from !== undefined)
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
    check: checkOf(dialect, send),
    async close() {
      await dispatcher.destroy(new Fault('Canceled', 'the store was closed'))
    },
  }
}

/** Adds the time at which the store gave the answer. */
function told({ headers }: HttpAnswer): (stat: Stat) => Stat {
  const ms = dateOf(headers)
  if (Number.isNaN(ms)) return stat => stat
  const asOf = new Date(ms)
  return stat => ({ ...stat, asOf })
}
