/**
 * The rules of what a person sees: results go to stdout, everything else to stderr; a failure is one line that begins
 * with the program's name, in lower case, and sets exit code 1. Nothing is printed that a script would have to filter.
 */
import { Fault } from '../fault.ts'

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function warn(line: string): void {
  process.stderr.write(`orthanc-cloud-storage: warning: ${line}\n`)
}

export function fail(error: unknown): void {
  process.stderr.write(`orthanc-cloud-storage: ${Fault.from(error).describe()}\n`)
  process.exitCode = 1
}
