/** Azure's Blob Batch, on the container: each removal is a request within the body, with a signature of its own. */
import { randomUUID } from 'node:crypto'
import type { Fault } from '../../fault.ts'
import type { BatchDialect, Draft, HttpAnswer } from '../http/dialect.ts'
import { multipart, partsOf } from '../http/multipart.ts'
import type { Removal } from '../store.ts'

export function azureBatch(
  containerPath: string,
  remove: (key: string) => Draft,
  faultOf: (answer: HttpAnswer) => Fault,
): BatchDialect {
  return {
    most: 256,

    async request(keys, authorize) {
      const requests = keys.map(async (key, id) => {
        const draft: Draft = { ...remove(key), within: true }
        const { headers, query } = await authorize(draft)
        const path = query === '' ? draft.path : `${draft.path}?${query}`
        return { id: String(id), method: draft.method, path, headers }
      })
      const boundary = `batch_${randomUUID()}`
      return {
        method: 'POST',
        path: containerPath,
        query: [
          ['restype', 'container'],
          ['comp', 'batch'],
        ],
        headers: { 'content-type': `multipart/mixed; boundary=${boundary}` },
        text: multipart(boundary, await Promise.all(requests)),
        slow: true,
      }
    },

    removals(keys, answer) {
      const parts = partsOf(answer)
      const removals = new Map<string, Removal>()
      for (const [id, key] of keys.entries()) {
        const part = parts.get(String(id))
        if (part) removals.set(key, part.status < 300 ? 'gone' : faultOf(part))
      }
      return removals
    },
  }
}
