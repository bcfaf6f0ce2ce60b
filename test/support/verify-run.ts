/**
 * `verify` as a process, with an index that is read from a file instead of Orthanc's. Arguments: the options and the
 * index, both as JSON, or `@` and the name of a file. `event`: what happens when half of the index has been read. Of
 * `dies` and `hangs last`: when it is asked again.
 */
import { readFileSync } from 'node:fs'
import { fail } from '../../src/cli/terminal.ts'
import { verify } from '../../src/cli/verify.ts'
import { Fault } from '../../src/fault.ts'
import type { Indexed, OrthancIndex } from '../../src/orthanc-index/orthanc-index.ts'

export interface IndexFile {
  readonly files: readonly Indexed[]
  readonly event?: 'fails' | 'is interrupted' | 'hangs' | 'dies' | 'hangs last'
}

const [options = '', text = ''] = process.argv.slice(2)
const { files, event } = JSON.parse(text.startsWith('@') ? readFileSync(text.slice(1), 'utf8') : text) as IndexFile

/** Until somebody kills it. */
async function hang(): Promise<void> {
  process.stderr.write('hangs\n')
  await new Promise(resolve => setTimeout(resolve, 600_000))
}

const index: OrthancIndex = {
  name: 'an index in a file',
  async *all(signal) {
    const half = files.length >> 1
    yield files.slice(0, half)
    if (event === 'fails') throw new Fault('Unavailable', 'the index is away', { retryable: false })
    if (event === 'is interrupted') {
      const aborted = new Promise(resolve => signal.addEventListener('abort', resolve))
      process.kill(process.pid, 'SIGINT')
      await aborted
      signal.throwIfAborted()
    }
    if (event === 'hangs') await hang()
    yield files.slice(half)
  },
  async find(uuids) {
    if (event === 'dies') process.kill(process.pid, 'SIGKILL')
    if (event === 'hangs last') await hang()
    return new Map(files.filter(({ uuid }) => uuids.has(uuid)).map(file => [file.uuid, file]))
  },
  close: async () => {},
}

await verify(JSON.parse(options), () => ({ index, orthanc: undefined })).catch(fail)
