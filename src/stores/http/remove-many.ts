/** Many objects in one request where the server takes it, else one by one. Nothing unproven is a removal. */
import { randomInt } from 'node:crypto'
import pLimit from 'p-limit'
import { Fault, isCode, throwIfAborted } from '../../fault.ts'
import { oneByOne } from '../one-by-one.ts'
import type { Removal, Removals, Store } from '../store.ts'
import { readAnswer } from './answer.ts'
import { type Dialect, encodeKey, type HttpAnswer } from './dialect.ts'
import type { HttpStoreOptions } from './options.ts'
import type { Send } from './send.ts'

const LONGEST_ANSWER = 16 * 1024 * 1024
/** After so many batches in a row that failed where single removals worked, no batch is tried any more. */
const MOST_FAILURES = 3
/** So many keys are tried singly before a refusal of a batch counts as one of its objects. */
const PROBES = 3

export function removesMany(
  dialect: Dialect,
  send: Send,
  remove: Store['remove'],
  { removals: atOnce, log }: Pick<HttpStoreOptions, 'removals' | 'log'>,
): Store['removeMany'] {
  const { batch } = dialect
  const slots = pLimit(atOnce)
  const singly = oneByOne(remove, slots)
  const takes = (key: string) => canBeNamed(key) && (batch.takes?.(key) ?? true)
  /** Since the last batch that was answered as it should be. */
  let failures = 0
  let withoutBatches = false

  async function ask(keys: readonly string[], signal: AbortSignal): Promise<HttpAnswer> {
    const draft = await batch.request(keys, one => dialect.authorize(one, 0, false, signal))
    return await readAnswer(await send('remove', draft, signal), signal, LONGEST_ANSWER)
  }

  async function inOne(keys: readonly string[], signal: AbortSignal): Promise<Removals> {
    if (signal.aborted || withoutBatches) return await singly(keys, signal)
    let answer: HttpAnswer
    try {
      answer = await slots(ask, keys, signal)
    } catch (error) {
      throwIfAborted(signal)
      return await afterRefusal(keys, Fault.from(error), signal)
    }
    const said = judged(answer, keys)
    if (said.size > 0) failures = 0
    const left = keys.filter(key => !said.has(key))
    return left.length === 0 ? said : new Map([...said, ...(await singly(left, signal))])
  }

  /** An answer that is not the store's says nothing of any key. */
  function judged(answer: HttpAnswer, keys: readonly string[]): Removals {
    try {
      const asked = new Set(keys)
      const said = [...batch.removals(keys, answer)].filter(([key]) => asked.has(key))
      return new Map(said.map(([key, removal]): [string, Removal] => [key, absent(removal) ? 'gone' : removal]))
    } catch {
      return new Map()
    }
  }

  /** The whole batch failed. A server may take single removals all the same. One that is busy is not asked for more. */
  async function afterRefusal(keys: readonly string[], fault: Fault, signal: AbortSignal): Promise<Removals> {
    const all = new Map<string, Removal>(keys.map(key => [key, fault]))
    failures++
    if (fault.retryable && failures < MOST_FAILURES) return all
    for (let probes = 0; probes < PROBES; probes++) {
      const key = keys[randomInt(keys.length)] as string
      const [[, removal] = [key, fault]] = await singly([key], signal)
      all.set(key, removal)
      if (removal !== 'gone') continue
      if (!withoutBatches) {
        withoutBatches = !fault.retryable || failures >= MOST_FAILURES
        if (withoutBatches)
          log(`${dialect.name} takes no removals in batches, so it gets them one by one: ${fault.describe()}`)
      }
      const rest = keys.filter(other => all.get(other) !== 'gone')
      return new Map([...all, ...(await singly(rest, signal))])
    }
    return all
  }

  return async (keys, signal) => {
    throwIfAborted(signal)
    const once = [...new Set(keys)]
    const odd = once.filter(key => !takes(key))
    const usual = once.filter(takes)
    const batches: Promise<Removals>[] = odd.length > 0 ? [singly(odd, signal)] : []
    for (let at = 0; at < usual.length; at += batch.most) batches.push(inOne(usual.slice(at, at + batch.most), signal))
    const settled = await Promise.allSettled(batches)
    throwIfAborted(signal)
    return new Map(settled.flatMap(result => (result.status === 'fulfilled' ? [...result.value] : [])))
  }
}

const absent = (removal: Removal) => isCode(removal, 'NotFound')

function canBeNamed(key: string): boolean {
  try {
    return encodeKey(key) !== ''
  } catch {
    return false
  }
}
