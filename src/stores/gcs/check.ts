import { Fault } from '../../fault.ts'
import { mayCome, mayNotRemove } from '../check.ts'
import type { Check, Draft, Told } from '../http/dialect.ts'
import { notTheStores } from '../http/stranger.ts'
import { isMarked, jsonOf, permissionRemedy } from './faults.ts'

export interface GcsCheckOptions {
  readonly bucket: string
  readonly bucketPath: string
}

const READ = 'storage.objects.get'
const WRITE = 'storage.objects.create'
const REMOVE = 'storage.objects.delete'

/** Google tells which permissions we have, to anybody who asks, so nothing needs to be tried. */
export function gcsCheck(key: string, { bucket, bucketPath }: GcsCheckOptions): Check {
  /** Emulators do not know the question about permissions. */
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

  function judge(name: string, told: Told, asked: readonly string[], warn: (line: string) => void): void {
    const { kind, permissions: granted } = parsed(told)
    if (kind !== 'storage#testIamPermissionsResponse' && granted === undefined && !isMarked(told.headers))
      throw notTheStores(told, 'no permissions')
    const missing = asked.filter(permission => !(Array.isArray(granted) && granted.includes(permission)))
    const needed = missing.filter(permission => permission !== REMOVE)
    if (needed.length > 0) throw lacks(needed)
    if (missing.length > 0) warn(mayNotRemove(name, lacks(missing))) // Google wants it for writing an object again, too
  }

  return async ({ name }, ask, { purpose, writes, warn }) => {
    const asked = purpose === 'status' || !writes ? [READ] : [WRITE, READ, REMOVE]
    const told = tellsPermissions ? await ask('use', question(asked)) : undefined
    if (told && !(told instanceof Fault)) {
      judge(name, told, asked, warn)
      if (purpose === 'status') return
    } else if (told?.code === 'Denied' || told?.code === 'BadConfig') throw isMissing(told) ? mayCome(told) : told
    // So that a missing bucket shows on an emulator, too. The permission to list is not needed.
    const listed = await ask('list', list)
    if (listed instanceof Fault) {
      if (isMissing(listed)) throw mayCome(listed)
      if (listed.code !== 'Denied' || !listed.message.includes('storage.objects.list')) throw listed
    } else parsed(listed)
    if (told instanceof Fault) tellsPermissions = false
  }
}

function parsed(told: Told): Record<string, unknown> {
  const answer = jsonOf(told.text)
  if (answer) return answer as Record<string, unknown>
  throw notTheStores(told, 'no JSON')
}

/** What was asked is about the bucket, so nothing else can be missing. */
function isMissing(fault: Fault): boolean {
  return fault.code === 'BadConfig' && /bucket does not exist|HTTP 404/i.test(fault.message)
}
