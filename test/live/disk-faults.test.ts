/** A disk that is full, read-only, away or hangs under a load: one Orthanc must survive it all. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import { believed, Load } from './support/load.ts'
import {
  freezeDisk,
  hang,
  makeReadOnly,
  mountAgain,
  mountExt4,
  thawDisk,
  unmountAll,
  whyNoMounts,
} from './support/mounts.ts'
import { type Place, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

const MEGABYTES = 48
const WORKERS = 6

const missing = whyNoMounts()
if (missing && process.env['LIVE'] === 'required') throw new Error(`LIVE=required, but ${missing}`)
if (missing) process.stderr.write(`\nSKIPPED: ${process.argv[1]}: ${missing}\n\n`)

const folderOnly = { name: "a directory's", s3: false, mode: 'Disabled' }
const tiers = ['WriteToFileSystem', 'WriteToObjectStorage'].map(mode => ({ name: `${mode} its`, s3: true, mode }))

for (const { name, s3, mode } of missing ? [] : LONG && s3Server() ? [folderOnly, ...tiers] : [folderOnly])
  describe(`under a load, an Orthanc of which ${name} disk`, () => {
    /** Whether uploads fail on a disk without room, or on one where nothing can be written. */
    const felt = mode !== 'WriteToObjectStorage'
    let folder: string
    let disk: string
    let place: Place | undefined
    let orthanc: OrthancProcess
    let load: Load
    const image = () => join(folder, 'image')

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-disk-'))
      disk = join(folder, 'disk')
      mountExt4(disk, image(), MEGABYTES)
      mkdirSync(join(folder, 'index'))
      place = s3 ? await s3Place() : undefined
      const [[section, options]] = Object.entries(place?.config ?? { DirectoryStorage: { Path: disk } }) as [
        [string, object],
      ]
      orthanc = await startOrthanc({
        config: { [section]: { ...options, HybridMode: mode }, StorageDirectory: s3 ? disk : join(folder, 'index') },
        dir: folder,
      })
      load = new Load(orthanc, { workers: WORKERS, rows: [64, 64, 332] }).start()
      await load.more(10)
    })
    after(async () => {
      if (orthanc) unmountOver()
      await load?.stop()
      await orthanc?.stop()
      unmountAll(disk)
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })
    /** Removes the mount that a failed test has left. */
    let unmountOver = () => {}

    /** Until there is no room for anything more. */
    const fill = (name: (number: number) => string, bytes: number) => {
      const names: string[] = []
      for (;;)
        try {
          const next = join(disk, name(names.length))
          names.push(next)
          writeFileSync(next, Buffer.alloc(bytes))
        } catch {
          return names
        }
    }
    const feels = async (line: RegExp) => {
      if (!felt) return await load.more(WORKERS)
      await load.moreFailed(WORKERS)
      await orthanc.logged(line)
    }

    it('is full: says so, reads go on, and writes as soon as there is room', async () => {
      const ballast = [...fill(n => `ballast${n}`, 1024 * 1024), ...fill(n => `small${n}`, 1024)]
      await feels(/E.*cannot write .*ENOSPC: no space left on device.*\[TooLarge\]\. Make room/)
      for (const one of ballast) rmSync(one, { force: true })
      await load.more(2 * WORKERS)
    })

    it('has room, but for no more files', async () => {
      const files = fill(n => `empty${n}`, 0)
      await feels(/E.*cannot write .*ENOSPC: no space left on device.*\[TooLarge\]\. Make room/)
      for (const one of files) rmSync(one, { force: true })
      await load.more(2 * WORKERS)
    })

    it('is read-only for a while', async () => {
      await until('nobody to be writing', () => makeReadOnly(disk, true))
      await feels(/E.*cannot write .*EROFS: read-only file system.*\[Denied\]/)
      makeReadOnly(disk, false)
      await load.more(2 * WORKERS)
    })

    it('is taken away and comes back', async () => {
      unmountAll(disk)
      await feels(/E.*cannot (write|read) .*(is not the one that was used|is another folder).*\[Unavailable\]\. Mount/)
      // A write makes its temporary file before it knows that the folder is another one, and then removes it.
      const written = () => readdirSync(disk)
      assert.deepEqual(
        written().filter(file => !file.endsWith('.tmp')),
        [],
        'nothing is stored where it was mounted',
      )
      await until('nothing to be left where it was mounted', () => written().length === 0)
      mountAgain(disk, image())
      await load.more(2 * WORKERS)
    })

    it('hangs while it is written, and goes on: nothing fails', async () => {
      const failed = load.failures.length
      freezeDisk(disk)
      unmountOver = () => thawDisk(disk)
      await until('writes to hang', () => orthanc.enginePid() !== undefined && waiting(orthanc.enginePid() as number))
      thawDisk(disk)
      unmountOver = () => {}
      await load.more(2 * WORKERS)
      assert.deepEqual(load.failures.slice(failed), [])
    })

    if (LONG)
      it('hangs as if its server were away, fails its calls in time, and comes back', async () => {
        const end = hang(disk)
        unmountOver = end
        if (felt) await load.moreFailed(WORKERS)
        await orthanc.logged(/E.*cannot \w+ .*the disk of .* does not answer \[Unavailable\]\. Look at the disk/)
        const status = await orthanc.getJson('/cloud-storage/status')
        // The disk is given up after 5 s, and the question of the status, too: either may be first.
        if (!s3) assert.match(`${status.Reachable} ${status.Problem}`, /^false (Unavailable|Timeout)$/)
        if (!felt) await load.more(WORKERS)
        end()
        unmountOver = () => {}
        await load.more(2 * WORKERS)
      })

    it('has lost nothing, and left behind no more than was said', async () => {
      await load.stop()
      await load.verify()
      await orthanc.stop()
      const uuids = believed(join(folder, 'index'))
      const files = readdirSync(disk, { recursive: true, encoding: 'utf8' }).filter(file => /[0-9a-f-]{36}/.test(file))
      const keys = [...files, ...((await place?.keys()) ?? [])].map(key => key.slice(key.lastIndexOf('/') + 1))
      const orphans = keys.filter(key => !uuids.has(key.slice(0, 36)))
      const notRemoved = new Set(orthanc.log().match(/cannot remove '[^']+/g))
      const failed = orthanc.log().match(/cannot write '.*does not answer/g)?.length ?? 0 // what hung may have happened
      assert.ok(orphans.length <= notRemoved.size + failed, `${orphans.length} orphans: ${orphans}`)
      assert.deepEqual(
        files.filter(file => file.endsWith('.tmp')),
        [],
      )
      assert.ok(uuids.size <= keys.length)
    })
  })

/** Whether a thread of a process waits for a disk, as a thread does that writes to a frozen one. */
function waiting(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).some(task =>
    /^State:\s+D/m.test(readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8')),
  )
}
