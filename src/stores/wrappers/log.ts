import { amount, type Bytes, type Content, type Range } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import type { Leftover, Removal, Stat, Wrap } from '../store.ts'

/**
 * Logs what every finished operation did, in one line with key, size, time and speed (docs/errors.md), and gives every
 * fault its verb, store and key. Failures are not logged here: the engine does that once, where the call ends.
 */
export function withLog(log: (line: string) => void): Wrap {
  return store => {
    async function timed<T>(
      verb: string,
      key: string,
      past: string,
      bytes: number | undefined,
      work: () => Promise<T>,
    ) {
      const start = performance.now()
      const result = await work().catch(error => {
        throw Fault.from(error, { verb, store: store.name, key })
      })
      log(`${past} '${key}' ${words[past] ?? 'from'} ${store.name}${pace(bytes, performance.now() - start)}`)
      return result
    }

    async function* timedBody({ size, body }: Content, key: string, range: Range | undefined, start: number): Bytes {
      try {
        yield* body
      } catch (error) {
        throw Fault.from(error, { verb: 'read', store: store.name, key })
      }
      const part = range ? ` bytes ${range.start}-${range.end - 1}` : ''
      log(`read '${key}'${part} from ${store.name}${pace(size, performance.now() - start)}`)
    }

    async function* listed(prefix: string, signal: AbortSignal): AsyncIterable<Stat> {
      try {
        yield* store.list(prefix, signal)
      } catch (error) {
        throw Fault.from(error, { verb: 'list', store: store.name, key: prefix })
      }
    }

    async function* leftovers(prefix: string, signal: AbortSignal): AsyncIterable<Leftover> {
      try {
        yield* store.leftovers(prefix, signal)
      } catch (error) {
        throw Fault.from(error, { verb: 'look for leftovers below', store: store.name, key: prefix })
      }
    }

    return {
      name: store.name,
      put: (key, body, signal) => timed('write', key, 'wrote', body.size, () => store.put(key, body, signal)),
      async get(key, range, signal) {
        const start = performance.now()
        const content = await store.get(key, range, signal).catch(error => {
          throw Fault.from(error, { verb: 'read', store: store.name, key })
        })
        return { ...content, body: timedBody(content, key, range, start) }
      },
      stat: (key, signal) => timed('stat', key, 'looked for', undefined, () => store.stat(key, signal)),
      remove: (key, signal) => timed('remove', key, 'removed', undefined, () => store.remove(key, signal)),
      async removeMany(keys, signal) {
        const start = performance.now()
        const removals = await store.removeMany(keys, signal).catch(error => {
          throw Fault.from(error, { verb: 'remove', store: store.name })
        })
        const gone = keys.filter(key => removals.get(key) === 'gone').length
        log(`removed ${gone} of ${keys.length} objects from ${store.name}${pace(undefined, performance.now() - start)}`)
        const placed = (key: string, removal: Removal): Removal =>
          removal === 'gone' ? removal : removal.at({ verb: 'remove', store: store.name, key })
        return new Map([...removals].map(([key, removal]) => [key, placed(key, removal)]))
      },
      holds: store.holds, // a part of a put, which is logged
      list: listed, // logged only when it fails, as a check
      leftovers,
      removeLeftover: (leftover, signal) => {
        const { key, what } = leftover
        const past = `removed the ${what} of`
        return timed(`remove the ${what} of`, key, past, undefined, () => store.removeLeftover(leftover, signal))
      },
      check: (signal, options) =>
        store.check(signal, options).catch(error => {
          throw Fault.from(error, { verb: 'use', store: store.name })
        }),
      close: store.close,
    }
  }
}

const words: Readonly<Record<string, string>> = { wrote: 'to', 'looked for': 'on' }

function pace(bytes: number | undefined, ms: number): string {
  const time = `in ${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`
  if (bytes === undefined) return ` ${time}`
  return `: ${amount(bytes)} ${time} (${(bytes / 1e3 / Math.max(ms, 0.001)).toFixed(1)} MB/s)`
}
