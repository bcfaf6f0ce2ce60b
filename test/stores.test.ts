import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { directoryStore } from '../src/stores/file.ts'
import { measured } from '../src/stores/measured.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { retrying } from '../src/stores/retry.ts'
import type { Store } from '../src/stores/store.ts'
import { flaky } from './flaky.ts'
import { describeStore, type Made } from './store.suite.ts'

const silent = () => {}
const patient = retrying({ maxRetries: 10, firstDelayMs: 1 }, silent)

const inMemory = async (wrap: (store: Store) => Store = store => store): Promise<Made> => ({
  store: wrap(memoryStore()),
  dispose: async () => {},
})

const inFolder = async (wrap: (store: Store) => Store = store => store): Promise<Made> => {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-store-'))
  return {
    store: wrap(directoryStore(join(folder, 'objects'))),
    dispose: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

describeStore('memory', () => inMemory())
describeStore('directory', () => inFolder())
describeStore('measured(memory)', () => inMemory(measured(silent)))
describeStore('retrying(memory)', () => inMemory(patient))
describeStore('retrying(flaky(memory))', () => inMemory(store => patient(flaky(store))))
describeStore('measured(retrying(flaky(directory)))', () => inFolder(store => measured(silent)(patient(flaky(store)))))
