import { throwIfAborted } from '../fault.ts'
import type { Removals, Store } from '../stores/store.ts'

/** For what is under way when somebody interrupts: its end says what is gone. A second Ctrl-C ends it at once. */
const GRACE_MS = 10_000

/** As Store.removeMany(), but an interruption does not hide what is gone, unless the store does not answer. */
export async function removeTogether(
  { removeMany }: Pick<Store, 'removeMany'>,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<Removals> {
  throwIfAborted(signal)
  const late = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const interrupted = () => {
    timer = setTimeout(() => late.abort(signal.reason), GRACE_MS)
  }
  signal.addEventListener('abort', interrupted)
  try {
    return await removeMany(keys, late.signal)
  } finally {
    signal.removeEventListener('abort', interrupted)
    clearTimeout(timer)
  }
}
