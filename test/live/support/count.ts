/**
 * A command with a queue, as a process of its own: count.ts FOLDER URL. With HANG=N it does N shards, and then holds
 * others in their middle until it is ended.
 */
import { type QueuedArguments, runQueued } from '../../../src/cli/bulk-queue.ts'
import { fail, failWith, interruption, note } from '../../../src/cli/terminal.ts'
import { unlessAborted } from '../../../src/stores/unless-aborted.ts'
import { Counting } from '../../support/counting.ts'

const [folder = '', queue = '', json = ''] = process.argv.slice(2)
const { HANG } = process.env
let left = HANG === undefined ? Number.POSITIVE_INFINITY : Number(HANG)

const work = new Counting({
  folder,
  pause: async (_shard, signal) => {
    if (left-- > 0) return
    note('hangs')
    await unlessAborted(new Promise<void>(() => {}), signal)
  },
})
failWith(3)
const options: QueuedArguments = { queue, heartbeatSeconds: 10, ...(json === '' ? {} : { json }) }
const wording = {
  position: (tally: Readonly<Record<string, unknown>>) => `${Number(tally['objects'] ?? 0)} objects counted`,
  done: (tally: Readonly<Record<string, unknown>>) => Number(tally['objects'] ?? 0),
  sentence: () => undefined,
  summary: (tally: Readonly<Record<string, unknown>>) => [`objects: ${tally['objects']}`],
}
const keepsRunning = setInterval(() => {}, 60_000) // a hanging shard is nothing that Node.js waits for
try {
  await runQueued(work, options, wording, interruption())
} catch (error) {
  fail(error)
} finally {
  clearInterval(keepsRunning)
}
