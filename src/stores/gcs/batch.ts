/** Google's batches: requests of the JSON API within one body, under the token of the request around them. */
import { randomUUID } from 'node:crypto'
import type { Fault } from '../../fault.ts'
import type { BatchDialect, HttpAnswer } from '../http/dialect.ts'
import { multipart, partsOf } from '../http/multipart.ts'
import type { Removal } from '../store.ts'

export function gcsBatch(
  base: string,
  objectPath: (key: string) => string,
  faultOf: (answer: HttpAnswer) => Fault,
): BatchDialect {
  return {
    most: 100,

    async request(keys) {
      const boundary = `batch_${randomUUID()}`
      const requests = keys.map((key, i) => ({
        id: `<removal+${i}>`,
        method: 'DELETE',
        path: objectPath(key),
        headers: {},
      }))
      return {
        method: 'POST',
        path: `${base}/batch/storage/v1`,
        headers: { 'content-type': `multipart/mixed; boundary=${boundary}` },
        text: multipart(boundary, requests),
        slow: true,
      }
    },

    removals(keys, answer) {
      const removals = new Map<string, Removal>()
      for (const [id, part] of partsOf(answer)) {
        const [, number] = /^<?(?:response-)?removal\+(\d+)>?$/.exec(id) ?? []
        const key = number === undefined ? undefined : keys[Number(number)]
        if (key !== undefined) removals.set(key, part.status < 300 ? 'gone' : faultOf(part))
      }
      return removals
    },
  }
}
