/** What a verification has found, for people. */
import type { Finding } from './finding.ts'
import type { VerifyTally } from './tally.ts'

interface Told {
  readonly tally: Pick<VerifyTally, 'indexed'> & { readonly places: readonly { readonly store: string }[] }
}

export function sentence({ kind, key, store, type, uuid, expected, found }: Finding): string {
  const what = key.includes(uuid) ? '' : ` (${uuid})`
  return `${kind}: ${key}${what} in ${store}${type ? `, ${type}` : ''}: expected ${expected}; found ${found}`
}

/** What to say when `strange` is true. `index`: its name. */
export function strangeness({ tally }: Told, index: string): string {
  const stores = tally.places.map(({ store }) => store).join(' and ')
  const why = tally.indexed === 0 ? 'the index is empty' : 'nothing that the index has is there'
  return `The index (${index}) and ${stores} probably do not belong together: ${why}. Do not remove anything.`
}
