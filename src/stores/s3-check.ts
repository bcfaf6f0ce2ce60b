import { type Check, probing } from './check.ts'
import type { Dialect } from './dialect.ts'

/**
 * No permission to list is needed: absent is what we hope for, and AccessDenied is how S3 says "absent" to somebody who may
 * not list the bucket. Wrong credentials and a missing bucket are told in other words.
 */
export function s3Check(
  { name, get, put, remove }: Pick<Dialect, 'name' | 'get' | 'put' | 'remove'>,
  key: string,
): Check {
  const nothing = remove(key)
  return probing({
    name,
    key,
    read: get(key, undefined),
    put,
    remove: nothing,
    // In a bucket with versions the removal of nothing would leave a mark behind. S3 looks at the condition, and at the
    // permission before; servers that do not know it behave as without.
    removeNothing: { ...nothing, headers: { ...nothing.headers, 'if-match': '*' } },
    isAbsence: ({ code, message }) =>
      code === 'NotFound' || (message.startsWith('AccessDenied') && !/\bkms:/i.test(message)),
    isReceipt: ({ headers }) => typeof headers['etag'] === 'string',
    isPlaceMissing: ({ message }) => message.startsWith('NoSuchBucket'),
  })
}
