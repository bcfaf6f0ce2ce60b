/** What the check of a store says, whatever the store. */
import type { Fault } from '../fault.ts'

/** For a failure that somebody may be about to mend, such as a side container that makes the bucket. */
export function worthAskingAgain(fault: Fault): Fault {
  return fault.with({ retryable: true })
}

/** What is full can still be read, and only an Orthanc that runs can make room there. */
export function fullWarning(store: string, fault: Fault): string {
  return `${store} takes no more files until there is room: ${fault.describe()}`
}

/** A missing permission to remove stops nothing: a store may be meant to keep everything. */
export function removalWarning(store: string, fault: Fault): string {
  return `there is no permission to remove, so what Orthanc removes will stay in ${store}: ${fault.describe()}`
}
