/**
 * node bench/bulk/import.ts [FILES]: `import` beside ten REST clients that upload the same files, each into a new
 * Orthanc. Once the clients only upload; once they also ask Orthanc after each file what it has, as `import` must.
 * `ORTHANC_RELEASE=forky` takes a newer Orthanc, which `import` need not ask before each file, too.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'

const CLIENTS = 10
const FILES = Number(process.argv[2] ?? 1000)
const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'ocs-bench-import-'))
const cli = new URL('../../dist/cli.mjs', import.meta.url).pathname

async function timed(work: (orthanc: OrthancProcess) => Promise<void>): Promise<number> {
  const dir = mkdtempSync(join(folder, 'orthanc-'))
  const orthanc = await startOrthanc({ dir, config: {}, plugin: null, verbose: false })
  try {
    const start = performance.now()
    await work(orthanc)
    const seconds = (performance.now() - start) / 1000
    const { CountInstances: count } = await orthanc.getJson('/statistics')
    if (count !== FILES) throw new Error(`Orthanc has ${count} of ${FILES} files`)
    return seconds
  } finally {
    await orthanc.stop()
    rmSync(dir, { recursive: true })
  }
}

/** 220 KB each. */
const images = Array.from({ length: FILES }, (_, seed) =>
  makeImage({ seed, rows: 332, columns: 332, series: seed % 10 }),
)
mkdirSync(join(folder, 'objects'))
for (const [i, image] of images.entries()) writeFileSync(join(folder, 'objects', `IM${i}`), image)
const config = join(folder, 'from.json')
writeFileSync(config, JSON.stringify({ DirectoryStorage: { Path: join(folder, 'objects') } }))

/** `ask`: what Orthanc has of the file. */
const byClients = (ask: (orthanc: OrthancProcess, id: string) => Promise<unknown> = async () => {}) =>
  timed(async orthanc => {
    const left = images.values()
    const client = async () => {
      for (const image of left) await ask(orthanc, String((await orthanc.postJson('/instances', image))['ID']))
    }
    await Promise.all(Array.from({ length: CLIENTS }, client))
  })
const byAskingClients = () => byClients((orthanc, id) => orthanc.getJson(`/instances/${id}/attachments/dicom/info`))
const byImport = () =>
  timed(async orthanc => {
    await run(process.execPath, [cli, 'import', '--from', config, '--orthanc', orthanc.url])
  })

try {
  for (let round = 0; round < 3; round++) {
    const [clients, asking, imported] = [await byClients(), await byAskingClients(), await byImport()]
    const rate = (seconds: number) => `${Math.round(FILES / seconds)} a second`
    const ratio = (other: number) => (other / imported).toFixed(2)
    console.log(
      `import ${rate(imported)}; clients ${rate(clients)}: ${ratio(clients)}; that ask, too, ${rate(asking)}: ${ratio(asking)}`,
    )
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
