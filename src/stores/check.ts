/** Messages and faults of the check that all stores share. */
import type { Fault } from '../fault.ts'

/** For a failure that may soon be repaired, for example by a side container that creates the bucket. */
export function worthAskingAgain(fault: Fault): Fault {
  return fault.with({ retryable: true })
}

/** A full store can still be read, and only a running Orthanc can make room in it. */
export function fullWarning(store: string, fault: Fault): string {
  return `${store} is full and takes no more files until there is room: ${fault.describe()}`
}

/** A missing permission to remove is only a warning: a store may be meant to keep everything. */
export function removalWarning(store: string, fault: Fault): string {
  return `there is no permission to remove, so what Orthanc removes will stay in ${store}: ${fault.describe()}`
}
