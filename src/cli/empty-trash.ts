/** `verify --empty-trash`: the only way out of the trash that removes. */

import { amount } from '../bytes.ts'
import type { EngineConfig } from '../config/config.ts'
import { loadKeyring } from '../config/key-file.ts'
import { Fault } from '../fault.ts'
import { emptyTrash, newTrashTally } from '../repair/trash.ts'
import { keyring } from '../seal/keyring.ts'
import { placesOf } from '../verify-places.ts'
import { MOST_LINES } from './bulk-report.ts'
import { composeGuest, type GuestOptions, soon } from './compose-guest.ts'
import { JsonLines } from './json-lines.ts'
import { fail, interruption, note, objects, say, warn } from './terminal.ts'
import { refuseReadOnly } from './verify-repair.ts'

export interface EmptyTrashArguments extends GuestOptions {
  /** Milliseconds. */
  readonly olderThan: number
  readonly json?: string
  /** Without it, nothing is removed. */
  readonly yes?: true
}

/** Exit code 1: something could not be removed. Rejects when it could not be finished. */
export async function emptyTrashOf(config: EngineConfig, options: EmptyTrashArguments): Promise<void> {
  const { olderThan, yes = false } = options
  if (yes) refuseReadOnly(config)
  const keys = config.encryption ? loadKeyring(config.encryption, warn) : keyring(undefined, [])
  const composition = composeGuest(config, options)
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; what was done so far follows'))
  const json = new JsonLines(options.json)
  const tell = json.ownsOutput ? () => {} : say
  let failures = 0
  try {
    for (const place of placesOf(config, composition, keys)) {
      const { store } = place
      await store.check(soon(stop), { purpose: 'look', writes: yes, warn })
      const kind = yes ? 'removed' : 'to be removed'
      const tally = newTrashTally()
      const ended = await emptyTrash(
        {
          ...{ place, olderThanMs: olderThan, yes, tally },
          onRemoved: ({ key, size }) => json.write({ kind, key, store: store.name, size }),
          onFailure: error => {
            if (++failures <= MOST_LINES) note(Fault.from(error).describe())
          },
        },
        stop,
      ).then(
        () => undefined,
        error => Fault.from(error),
      )
      const { objects: all, bytes, removed, removedBytes } = tally
      const what = `${yes ? 'removed' : 'old enough'} ${objects(removed)} (${amount(removedBytes)})`
      if (ended) tell('This report is partial: not everything could be done.')
      tell(`${objects(all)} in the trash of ${store.name} (${amount(bytes)}): ${what}`)
      json.write({ kind: 'summary', ...(ended && { complete: false }), dryRun: !yes, store: store.name, ...tally })
      if (ended) throw ended
    }
    if (!yes) tell('Nothing was changed. Give --yes to do it.')
    if (failures > 0) {
      fail(new Fault('Unavailable', `${objects(failures)} could not be removed, as reported above`))
      process.exitCode = 1
    }
  } finally {
    json.close()
    await composition.store.close()
  }
}
