/** What a store says when something is wrong with its configuration, asked by every verb. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Fault } from '../../src/fault.ts'
import type { Store } from '../../src/stores/store.ts'
import { withLog } from '../../src/stores/wrappers/log.ts'
import { chunked, never, noise } from './store.suite.ts'

export const VERBS = ['check', 'put', 'get', 'stat', 'remove', 'list'] as const
export type Verb = (typeof VERBS)[number]

const works: Readonly<Record<Verb, (store: Store) => Promise<unknown>>> = {
  check: store => store.check(never),
  put: store => store.put('x', chunked(noise(10)), never),
  get: store => store.get('x', undefined, never),
  stat: store => store.stat('x', never),
  remove: store => store.remove('x', never),
  list: async store => {
    for await (const _ of store.list('', never));
  },
}

export interface Saying {
  /** Must not be in the line. */
  readonly secret?: string
  /** Verbs whose answer has no words (HEAD): only the code is asserted. */
  readonly mute?: readonly Verb[]
  readonly verbs?: readonly Verb[]
}

/** One test for each verb: it fails with `code`, in one line that matches. */
export function itSays(what: string, open: () => Store, code: string, line: RegExp, more: Saying = {}): void {
  for (const verb of more.verbs ?? VERBS)
    it(`${what}, at ${verb}`, async () => {
      const store = withLog(() => {})(open())
      const fault = await works[verb](store).then(
        () => assert.fail('it succeeded'),
        (error: unknown) => error,
      )
      await store.close()
      assert.ok(fault instanceof Fault, String(fault))
      assert.equal(fault.code, code, fault.describe())
      if (!more.mute?.includes(verb)) assert.match(fault.describe(), line)
      assert.ok(!more.secret || !fault.describe().includes(more.secret))
    })
}
