import { homedir } from 'node:os'

/**
 * A container may run under a user id that no list of users has (OpenShift), and without HOME. Node does not know a
 * home folder then, and says so by an error, which would end the search of AWS's library for credentials before it
 * looks at the identity of the pod. `/` is what container runtimes give.
 */
export function ensureHome(): void {
  try {
    homedir()
  } catch {
    process.env['HOME'] = '/'
  }
}
