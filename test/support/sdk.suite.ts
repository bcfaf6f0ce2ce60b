/** What the vendor's own SDK writes we read, and the reverse: small, empty, and as large as to go up in parts. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { collect } from '../../src/bytes.ts'
import type { Store } from '../../src/stores/store.ts'
import { withChecksum } from '../../src/stores/wrappers/checksum.ts'
import { sha256 } from './sha256.ts'
import { chunked, never, noise } from './store.suite.ts'

export interface Both {
  readonly store: Store
  /** The SDK's side of the same bucket. */
  write(key: string, bytes: Buffer): Promise<void>
  read(key: string): Promise<Buffer>
  dispose(): Promise<void>
  /** A size that goes up in parts. */
  readonly large?: number
}

const MB = 1024 * 1024

export function describeBoth(name: string, make: () => Promise<Both>): void {
  describe(name, () => {
    let both: Both
    before(async () => {
      both = await make()
    })
    after(() => both?.dispose())

    for (const [what, fixed] of [
      ['0 bytes', 0],
      ['300 KB', 300_000],
      ['an object in parts', undefined],
    ] as const) {
      it(`the SDK reads ${what} that we wrote`, async () => {
        const bytes = noise(fixed ?? both.large ?? 40 * MB, 3)
        await both.store.put(`ours/${what} ü+`, chunked(bytes), never)
        assert.equal(sha256(await both.read(`ours/${what} ü+`)), sha256(bytes))
      })
      it(`we read ${what} that the SDK wrote, and find them as they were`, async () => {
        const bytes = noise(fixed ?? both.large ?? 40 * MB, 4)
        await both.write(`theirs/${what} ü+`, bytes)
        const read = await collect(await withChecksum(both.store).get(`theirs/${what} ü+`, undefined, never))
        assert.equal(sha256(read), sha256(bytes))
        assert.equal((await both.store.stat(`theirs/${what} ü+`, never))?.size, bytes.byteLength)
      })
    }
  })
}
