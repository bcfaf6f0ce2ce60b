/**
 * `verify` as a process, with an index that is read from a file instead of Orthanc's. Arguments: the options and the
 * index, both as JSON, or `@` and the name of a file. `then`: what happens when half of the index has been read.
 */
import { readFileSync } from 'node:fs'
import { fail } from '../../src/cli/terminal.ts'
import { verify } from '../../src/cli/verify.ts'
import { Fault } from '../../src/fault.ts'
import type { Indexed, OrthancIndex } from '../../src/orthanc-index/orthanc-index.ts'

export interface IndexFile {
  readonly files: readonly Indexed[]
  readonly then?: 'fails' | 'is interrupted'
}

const [options = '', text = ''] = process.argv.slice(2)
const { files, then } = JSON.parse(text.startsWith('@') ? readFileSync(text.slice(1), 'utf8') : text) as IndexFile

const index: OrthancIndex = {
  name: 'an index in a file',
  async *all(signal) {
    const half = files.length >> 1
    yield files.slice(0, half)
    if (then === 'fails') throw new Fault('Unavailable', 'the index is away', { retryable: false })
    if (then === 'is interrupted') {
      const aborted = new Promise(resolve => signal.addEventListener('abort', resolve))
      process.kill(process.pid, 'SIGINT')
      await aborted
      signal.throwIfAborted()
    }
    yield files.slice(half)
  },
  find: async uuids => new Map(files.filter(({ uuid }) => uuids.has(uuid)).map(file => [file.uuid, file])),
  close: async () => {},
}

await verify(JSON.parse(options), () => ({ index, orthanc: undefined })).catch(fail)
