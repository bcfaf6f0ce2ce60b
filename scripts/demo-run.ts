/** What all demonstrations need: their words, free ports, an end of the run before, images. */
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeImage, phantomPixels } from '../harness/dicom.ts'

export const SLICES = 8

/** As docs/tuning.md advises. The harness has no cache, for tests. */
export const TUNED = { MaximumStorageCacheSize: 128, StorageLoaderThreadsCount: 16 }

export const say = (line = '') => process.stdout.write(`${line}\n`)
export const shown = (path: string) => relative(process.cwd(), path) || '.'

/** Two Orthancs on one index would damage it. False: another run goes on, and a message has named it. */
export async function endOfLastRun(pidFile: string): Promise<boolean> {
  const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0
  for (let tries = 0; isDemo(pid); tries++) {
    if (tries === 0) say('An earlier run with the same store is still running. Waiting for its end ...')
    if (tries === 20) {
      process.stderr.write(
        `The earlier run does not end. Stop its process ${pid} (Ctrl-C in its terminal), then start again.\n`,
      )
      return false
    }
    await sleep(500)
  }
  return true
}

/** The number may belong to another program by now. */
function isDemo(pid: number): boolean {
  try {
    return pid > 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('scripts/demo.ts')
  } catch {
    return false
  }
}

export async function free(wanted: number, what: string): Promise<number> {
  for (let port = wanted; port < wanted + 100; port++) {
    if (!(await canListen(port))) continue
    if (port !== wanted) say(`Port ${wanted} (${what}) is in use. Orthanc uses ${port}.`)
    return port
  }
  throw new Error(`no free port from ${wanted} on`)
}

function canListen(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, () => server.close(() => resolve(true)))
  })
}

/** The images of the made-up study. */
export function slices(): Buffer[] {
  return Array.from({ length: SLICES }, (_, slice) => {
    const image = { seed: slice + 1, rows: 256, columns: 256, studyDescription: 'Made-up head', study: 1 }
    return makeImage(image, phantomPixels(slice, SLICES))
  })
}
