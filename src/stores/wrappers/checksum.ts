import type { Bytes, Content, Digest } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import { hasher } from '../digest.ts'
import type { Wrap } from '../store.ts'

/**
 * Compares whole bodies with the digest that came with them, so that bytes which were damaged at rest or on the way are
 * a fault and never a success. It stands outside `withRetry`: a body that broke and was resumed is compared as one. All
 * other wrappers pass the digest on, so they may stand on either side. A body is judged before its last chunk goes out,
 * so no byte of a small one does. Another try may help: `StorageArea.deliver`.
 */
export const withChecksum: Wrap = store => ({
  name: store.name,
  async get(key, range, signal) {
    const { digest, ...content } = await store.get(key, range, signal)
    return digest ? { ...content, body: compared(content, digest), verified: true } : content
  },
  put: store.put, // what is written is compared by the store itself, with a digest that the provider checks
  holds: store.holds,
  stat: store.stat, // here and below, no bytes of an object come back
  remove: store.remove,
  removeMany: store.removeMany,
  list: store.list,
  leftovers: store.leftovers,
  removeLeftover: store.removeLeftover,
  check: store.check,
  close: store.close,
})

async function* compared({ size, body }: Content, digest: Digest): Bytes {
  const seen = hasher(digest.name)
  let at = 0
  for await (const chunk of body) {
    seen.update(chunk)
    at += chunk.byteLength
    if (at === size) judge(seen.digest(), digest)
    yield chunk
  }
  if (size === 0) judge(seen.digest(), digest)
}

function judge(found: string, { name, value, confirms = same => same === value }: Digest): void {
  if (confirms(found)) return
  throw new Fault('Corrupt', `the bytes that arrived have the ${name} ${found}, but those stored have ${value}`, {
    retryable: true,
    remedy: 'The object was damaged in the store or on the way: if it happens again, restore it from a backup.',
  })
}
