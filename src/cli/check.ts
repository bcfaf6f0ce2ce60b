import { compose } from '../compose.ts'
import { Level, logTo } from '../log.ts'
import { readConfig } from './orthanc-config.ts'
import { say, sayJson, warn } from './terminal.ts'

const CHECK_DEADLINE_MS = 60_000

export async function check(files: readonly string[], options: { connect: boolean; json?: true }): Promise<void> {
  const file = files.join(', ')
  const config = readConfig(files)
  if (!config) {
    if (options.json) return sayJson({ enabled: false })
    return say(`${file}: no section of a storage provider, the plugin would be disabled`)
  }
  const log = logTo((level, line) => {
    if (level <= Level.warning) warn(line)
  })
  const { store } = compose(config, log)
  try {
    if (options.connect) await store.check(AbortSignal.timeout(CHECK_DEADLINE_MS))
  } finally {
    await store.close()
  }
  if (options.json) return sayJson({ enabled: true, store: store.name, answers: options.connect ? true : null })
  say(
    options.connect
      ? `${file}: the configuration is valid and ${store.name} answers`
      : `${file}: the configuration is valid, files would be stored in ${store.name}`,
  )
}
