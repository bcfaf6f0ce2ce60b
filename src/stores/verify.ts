import type { Bytes, Digest } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { hasher } from './digest.ts'
import type { Wrap } from './store.ts'

/**
 * Compares whole bodies with the digest that came with them, so that bytes which were damaged at rest or on the way are a
 * fault and never a success. It stands outside `retrying`: a body that broke and was resumed is compared as one.
 */
export const verifying: Wrap = store => ({
  ...store,
  async get(key, range, signal) {
    const content = await store.get(key, range, signal)
    const { size, body, digest } = content
    return digest ? { size, body: compared(body, digest) } : content
  },
})

async function* compared(body: Bytes, { name, value }: Digest): Bytes {
  const seen = hasher(name)
  for await (const chunk of body) {
    seen.update(chunk)
    yield chunk
  }
  const found = seen.digest()
  if (found === value) return
  throw new Fault('Corrupt', `the bytes that arrived have the ${name} ${found}, but those stored have ${value}`, {
    remedy: 'The object or the way to it is damaged: read it again, and if that fails restore it from a backup.',
  })
}
