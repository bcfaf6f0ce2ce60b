/**
 * A process that writes an object with our own code, and hangs in the middle: to be killed. Arguments: Orthanc's
 * configuration as JSON, the key, how many bytes the object has, and how many of them are given.
 */
import type { Bytes } from '../../../src/bytes.ts'
import { compose } from '../../../src/compose.ts'
import { parseConfig } from '../../../src/config/config.ts'
import { logTo } from '../../../src/log.ts'

const [text = '', key = '', size, given] = process.argv.slice(2)
const { config } = parseConfig(text)
if (!config) throw new Error('no section of a provider')
const { store } = compose(
  config,
  logTo(() => {}),
)
const end = Number(given)
const hang = () => new Promise<never>(() => setInterval(() => {}, 60_000))

async function* open(range = { start: 0, end: Number(size) }): Bytes {
  for (let at = range.start; at < range.end; at += 65_536) {
    if (at >= end) await hang()
    yield Buffer.alloc(Math.min(65_536, range.end - at), 'x')
  }
}
await store.put(key, { size: Number(size), open }, new AbortController().signal)
