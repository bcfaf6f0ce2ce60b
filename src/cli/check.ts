import { compose } from '../compose.ts'
import { lookAtFolder } from '../deletions/folder.ts'
import { LogLevel, logTo } from '../log.ts'
import { untilReady } from '../startup.ts'
import { readConfig } from './orthanc-config.ts'
import { say, sayJson, warn } from './terminal.ts'

export interface CheckArguments {
  readonly connect: boolean
  readonly json?: true
  /** Seconds; true = as long as Orthanc waits at start; undefined = one check. */
  readonly wait?: number | true
}

export async function check(files: readonly string[], { connect, json, wait }: CheckArguments): Promise<void> {
  const file = files.join(', ')
  const config = readConfig(files)
  if (!config) {
    if (json) return sayJson({ enabled: false })
    return say(`${file}: no section of a storage provider, the plugin would be disabled`)
  }
  const log = logTo((level, line) => {
    if (level <= LogLevel.warning) warn(line)
  })
  const { store, hybrid } = compose(config, log)
  const waitMs = wait === undefined ? 0 : wait === true ? config.startupTimeoutMs : wait * 1000
  const { deletions, readOnly } = config
  if (connect && deletions?.enabled && !readOnly) await lookAtFolder(deletions.folder, deletions.makeAbove)
  const options = { purpose: 'look', writes: !readOnly, warn } as const
  try {
    for (const place of connect ? [hybrid?.fileSystem, store] : [])
      if (place) await untilReady({ store: place, options, log }, waitMs)
  } finally {
    await store.close()
  }
  if (json) return sayJson({ enabled: true, store: store.name, answers: connect ? true : null })
  say(
    connect
      ? `${file}: the configuration is valid and ${store.name} ${config.provider.kind === 'directory' ? 'can be used' : 'answers'}`
      : `${file}: the configuration is valid, files would be stored in ${store.name}`,
  )
}
