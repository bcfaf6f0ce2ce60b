/**
 * The rules of what a person sees: results go to stdout, everything else to stderr; a line on stderr begins with the
 * program's name, in lower case; a failure is one line and sets exit code 1, or that of failWith(). Nothing is printed
 * that a script would have to filter. What takes longer than two seconds shows how far it is: see progress.ts.
 */
import { errnoOf, Fault } from '../fault.ts'
import { fileFault } from './file-fault.ts'

/** Something at the bottom of the terminal that lines must be written above. */
export interface Footer {
  clear(): void
}

let footer: Footer | undefined

export function setFooter(next: Footer | undefined): void {
  footer = next
}

let failureCode = 1

/** The exit code of failures, for a command in which 1 says something else. */
export function failWith(code: number): void {
  failureCode = code
}

/** Nobody reads on, as in `| head`: the rest is not printed, and the command has not succeeded. */
process.stdout.on('error', error => {
  if (errnoOf(error) === 'EPIPE') process.exitCode = failureCode
  else if (process.stdout.listenerCount('error') === 1) fail(fileFault('write', 'standard output', error)) // else reported
})

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function sayJson(value: unknown): void {
  say(JSON.stringify(value, undefined, 2))
}

/** A line that is neither a result nor a failure. */
export function note(line: string): void {
  footer?.clear()
  process.stderr.write(`orthanc-cloud-storage: ${line}\n`)
}

export function warn(line: string): void {
  note(`warning: ${line}`)
}

export function fail(error: unknown): void {
  note(Fault.from(error).describe())
  process.exitCode = failureCode
}

export function objects(count: number): string {
  return count === 1 ? '1 object' : `${count} objects`
}

/**
 * Aborted by the first Ctrl-C, or by another signal that ends programs, with a Fault as its reason. A second Ctrl-C
 * ends the program at once.
 */
export function interruption(): AbortSignal {
  const abort = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => abort.abort(new Fault('Canceled', `interrupted by ${name}`)))
  return abort.signal
}
