/** S3's DeleteObjects: many keys in one request, and an answer that names each of them. */
import { createHash } from 'node:crypto'
import XMLBuilder from 'fast-xml-builder'
import type { Fault } from '../../fault.ts'
import type { BatchDialect, HttpAnswer } from '../http/dialect.ts'
import { elementOf, xmlError } from '../http/xml.ts'
import type { Removal } from '../store.ts'

const builder = new XMLBuilder({ ignoreAttributes: false })
const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'
/** Keys come back as they were sent: with their spaces, and with the numbers that some servers write for characters. */
const SHAPE = { lists: ['Deleted', 'Error'], spaces: true }

export function s3Batch(bucketPath: string, faultOf: (answer: HttpAnswer) => Fault): BatchDialect {
  return {
    most: 1000,
    // XML cannot hold some characters, and a server that trims spaces would remove another object.
    takes: key => !/^\s|\s$|[\p{Cc}\u2028\u2029\ufffe\uffff]/u.test(key),

    async request(keys) {
      const objects = keys.map(Key => ({ Key }))
      const text = builder.build({ Delete: { '@_xmlns': NAMESPACE, Object: objects } })
      const md5 = createHash('md5').update(text).digest('base64')
      const headers = { 'content-md5': md5, 'content-type': 'application/xml' }
      // Not quiet: then the answer would only name what failed, and silence would be the proof of a removal.
      return { method: 'POST', path: bucketPath, query: [['delete', '']], headers, text, slow: true }
    },

    removals(_keys, answer) {
      const error = xmlError(answer.text)
      if (error) throw faultOf(answer) // also with HTTP 200
      const { Deleted = [], Error: refused = [] } = Object(elementOf(answer, 'DeleteResult', SHAPE)) as Result
      const removals = new Map<string, Removal>()
      for (const { Key } of Deleted) if (typeof Key === 'string') removals.set(Key, 'gone')
      for (const { Key, Code, Message } of refused)
        if (typeof Key === 'string') {
          const text = builder.build({ Error: { Code: String(Code ?? ''), Message: String(Message ?? '') } })
          removals.set(Key, faultOf({ ...answer, text }))
        }
      return removals
    },
  }
}

interface Result {
  readonly Deleted?: readonly { readonly Key?: unknown }[]
  readonly Error?: readonly { readonly Key?: unknown; readonly Code?: unknown; readonly Message?: unknown }[]
}
