/** Lines of a shard that is under way, in a file: there may be more than memory has room for. */
import { closeSync, createReadStream, openSync, rmSync, writeSync } from 'node:fs'
import { Fault, isErrno, messageWithoutPath } from '../fault.ts'

const BUFFER_BYTES = 64 * 1024
/** What one statement takes. */
const BATCH_LINES = 1_000
const BATCH_LENGTH = 1024 * 1024

export class Spool {
  readonly #path: string
  #file: number | undefined
  #buffer: string[] = []
  #buffered = 0
  /** Bytes, those in the buffer included. */
  #length = 0

  /** `path`: a file that does not exist yet. It is made with the first line. */
  constructor(path: string) {
    this.#path = path
  }

  /** Where the next line begins. */
  get end(): number {
    return this.#length
  }

  /** Throws a Fault when the disk has no room for it. */
  append(line: string): void {
    this.#buffer.push(line, '\n')
    const bytes = Buffer.byteLength(line) + 1
    this.#buffered += bytes
    this.#length += bytes
    if (this.#buffered >= BUFFER_BYTES) this.#flush()
  }

  /** Whole lines, some at a time. */
  async *between(start: number, end: number): AsyncGenerator<readonly string[]> {
    if (start >= end) return
    this.#flush()
    const input = createReadStream(this.#path, { start, end: end - 1, encoding: 'utf8' })
    let batch: string[] = []
    let length = 0
    try {
      for await (const line of linesIn(input)) {
        batch.push(line)
        length += line.length
        if (batch.length < BATCH_LINES && length < BATCH_LENGTH) continue
        yield batch
        batch = []
        length = 0
      }
    } catch (error) {
      throw diskFault(error)
    }
    if (batch.length > 0) yield batch
  }

  remove(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
    rmSync(this.#path, { force: true })
  }

  #flush(): void {
    if (this.#buffered === 0) return
    try {
      this.#file ??= openSync(this.#path, 'wx', 0o600)
      const bytes = Buffer.from(this.#buffer.join(''))
      for (let from = 0; from < bytes.length; ) from += writeSync(this.#file, bytes, from)
    } catch (error) {
      throw diskFault(error)
    }
    this.#buffer = []
    this.#buffered = 0
  }
}

/** `node:readline` also ends lines at characters that JSON may hold. */
async function* linesIn(input: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of input) {
    const [first = '', ...others] = chunk.split('\n')
    rest += first
    for (const line of others) {
      yield rest
      rest = line
    }
  }
}

function diskFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  const full = isErrno(error, 'ENOSPC', 'EDQUOT')
  return new Fault(full ? 'TooLarge' : 'Unavailable', `a temporary file fails: ${messageWithoutPath(error)}`, {
    cause: error,
    retryable: false,
    remedy: 'Make room in the folder of temporary files, or name another one with TMPDIR.',
  })
}
