/** Which process holds a lease, and whether that process has ended for certain. */
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { isErrno } from '../../fault.ts'

export interface ProcessIdentity {
  /** For people. Two machines may have one name. */
  readonly host: string
  readonly pid: number
  /** When the process began, in the kernel's own count: a number that is used again belongs to another process. */
  readonly started: string
  /** One start of one kernel, and what sees the same process numbers on it (a container has its own); '' = unknown. */
  readonly machine: string
}

export function thisProcess(): ProcessIdentity {
  const { pid } = process
  return { host: hostname(), pid, started: startOf(pid) ?? '', machine: machineOf() }
}

/** Only what this machine itself can see proves an end. Of another machine's process, nobody here knows. */
export function hasEnded({ machine, pid, started }: ProcessIdentity): boolean {
  if (machine === '' || started === '' || machine !== machineOf()) return false
  if (!isThere(pid)) return true
  const now = startOf(pid)
  return now !== undefined && now !== started
}

/** Also of another user's process, which /proc may hide. */
function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !isErrno(error, 'ESRCH')
  }
}

function machineOf(): string {
  const boot = read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
  const numbers = read(() => readlinkSync('/proc/self/ns/pid'))
  return boot && numbers ? `${boot} ${numbers}` : ''
}

/** Undefined: there is no such process, or none that we may see. */
function startOf(pid: number): string | undefined {
  const stat = read(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  // The name of the program, which may hold anything, ends with the last parenthesis.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}

function read(from: () => string): string | undefined {
  try {
    return from()
  } catch {
    return undefined
  }
}
