import { Fault } from '../../fault.ts'
import type { LeftoverDialect } from '../http/dialect.ts'
import type { Leftover } from '../store.ts'

/** Google lists no unfinished uploads. They cost nothing, and it forgets them a week after they began. */
export const gcsLeftovers: LeftoverDialect = () => ({
  leftovers: nothing,
  async removeLeftover() {
    throw new Fault('BadRequest', 'Google has no unfinished uploads that can be named')
  },
})

async function* nothing(): AsyncIterable<Leftover> {
  yield* []
}
