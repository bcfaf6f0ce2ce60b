import { appendFileSync, closeSync, openSync, readSync, statSync, writeFileSync } from 'node:fs'
import { Fault } from '../fault.ts'
import { fileFault } from './file-fault.ts'

/** Of each line. */
const BEGINNING = '{"kind":'

/** `--json FILE`: one JSON object a line, for programs. */
export class JsonLines {
  /** Whether they are all that may go to standard output. */
  readonly ownsOutput: boolean
  readonly #path: string | undefined
  readonly #file: number | undefined

  /** `path`: `-` is standard output; undefined: nobody wants them. Throws when the file cannot be written. */
  constructor(path: string | undefined) {
    this.#path = path
    this.ownsOutput = path === '-'
    if (path !== undefined && path !== '-') {
      refuseOther(path)
      this.#file = writing(path, () => openSync(path, 'w', 0o600))
    }
  }

  /** The same failure as later, before the work; the file is not changed. */
  static check(path: string | undefined): void {
    if (path === undefined || path === '-') return
    refuseOther(path)
    writing(path, () => closeSync(openSync(path, 'a', 0o600)))
  }

  /** One more line, after the file was closed. */
  static append(path: string, value: object): void {
    writing(path, () => appendFileSync(path, `${JSON.stringify(value)}\n`))
  }

  write(value: object): void {
    if (this.#path === undefined) return
    const text = `${JSON.stringify(value)}\n`
    const file = this.#file
    if (file === undefined) process.stdout.write(text)
    else writing(this.#path, () => writeFileSync(file, text)) // all of it: a disk that gets full takes a part
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
  }
}

/** So that a slip of the keyboard does not cost a configuration or a key: only an older report is overwritten. */
function refuseOther(path: string): void {
  const start = Buffer.alloc(BEGINNING.length)
  let size: number
  try {
    if (!statSync(path).isFile()) return
    const file = openSync(path, 'r')
    size = readSync(file, start)
    closeSync(file)
  } catch {
    return // nothing is there, or the write says what is wrong
  }
  if (size === 0 || start.toString('latin1') === BEGINNING) return
  throw new Fault('BadRequest', `${path} exists, is no report, and is left as it is`, {
    remedy: 'Give --json another file.',
  })
}

function writing<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw fileFault('write', path, cause)
  }
}
