import { appendFileSync, closeSync, openSync, writeFileSync } from 'node:fs'
import { fileFault } from './file-fault.ts'

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
    if (path !== undefined && path !== '-') this.#file = writing(path, () => openSync(path, 'w', 0o600))
  }

  /** The same failure as later, before the work; the file is not changed. */
  static check(path: string | undefined): void {
    if (path !== undefined && path !== '-') writing(path, () => closeSync(openSync(path, 'a', 0o600)))
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

function writing<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw fileFault('write', path, cause)
  }
}
