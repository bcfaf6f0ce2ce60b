import { Fault } from '../../fault.ts'
import { removalWarning, worthAskingAgain } from '../check.ts'
import type { DialectCheck, Draft, HttpAnswer } from '../http/dialect.ts'
import { notTheStores } from '../http/stranger.ts'
import { isMarkedByGoogle, objectOf, permissionRemedy } from './faults.ts'

const READ = 'storage.objects.get'
const WRITE = 'storage.objects.create'
const REMOVE = 'storage.objects.delete'

/** Google answers everybody which permissions they have, so the check needs no test write. */
export function gcsCheck(key: string, bucket: string, bucketPath: string): DialectCheck {
  /** Emulators do not support the request for permissions. */
  let tellsPermissions = true

  const question = (asked: readonly string[]): Draft => ({
    method: 'GET',
    path: `${bucketPath}/iam/testPermissions`,
    query: asked.map(permission => ['permissions', permission] as const),
  })
  const list: Draft = {
    method: 'GET',
    path: `${bucketPath}/o`,
    query: [
      ['prefix', key],
      ['maxResults', '1'],
    ],
  }
  const lacks = (missing: readonly string[]) =>
    new Fault('Denied', `permission ${missing.join(', ')} is missing`, {
      remedy: permissionRemedy(bucket, missing.join(', ')),
    })

  function judge(name: string, answer: HttpAnswer, asked: readonly string[], warn: (line: string) => void): void {
    const { kind, permissions: granted } = objectOf<Granted>(answer)
    if (kind !== 'storage#testIamPermissionsResponse' && granted === undefined && !isMarkedByGoogle(answer.headers))
      throw notTheStores(answer, 'no list of permissions')
    const missing = asked.filter(permission => !(Array.isArray(granted) && granted.includes(permission)))
    const needed = missing.filter(permission => permission !== REMOVE)
    if (needed.length > 0) throw lacks(needed)
    // Google also requires this permission for writing an object again.
    if (missing.length > 0) warn(removalWarning(name, lacks(missing)))
  }

  return async ({ name }, ask, { purpose, writes, warn }) => {
    const asked = purpose === 'status' || !writes ? [READ] : [WRITE, READ, REMOVE]
    const answer = tellsPermissions ? await ask('use', question(asked)) : undefined
    if (answer && !(answer instanceof Fault)) {
      judge(name, answer, asked, warn)
      if (purpose === 'status') return
    } else if (answer?.code === 'Denied' || answer?.code === 'BadConfig')
      throw isMissing(answer) ? worthAskingAgain(answer) : answer
    // So that a missing bucket shows on an emulator, too. The permission to list is not needed.
    const listed = await ask('list', list)
    if (listed instanceof Fault) {
      if (isMissing(listed)) throw worthAskingAgain(listed)
      if (listed.code !== 'Denied' || !listed.message.includes('storage.objects.list')) throw listed
    } else objectOf(listed)
    if (answer instanceof Fault) tellsPermissions = false
  }
}

interface Granted {
  readonly kind?: unknown
  readonly permissions?: unknown
}

/** The request was about the bucket, so nothing else can be missing. */
function isMissing(fault: Fault): boolean {
  return fault.code === 'BadConfig' && /bucket does not exist|HTTP 404/i.test(fault.message)
}
