/** Removals that do not wait, in the real Orthanc: on every store, and after every kind of end. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import pLimit from 'p-limit'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, PLUGIN, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { lineOf } from '../../src/deletions/record.ts'
import { FaultProxy } from './support/fault-proxy.ts'
import { type Place, places } from './support/places.ts'
import { ways } from './support/ways.ts'

const run = promisify(execFile)
const FILES = 60
const JOURNAL = 'cloud-storage-deletions'

async function uploadStudy(orthanc: OrthancProcess, study: number): Promise<string> {
  const few = pLimit(8)
  const image = (i: number) => makeImage({ seed: 1000 * study + i, rows: 32, columns: 32, study })
  const upload = async (i: number) => await orthanc.postJson('/instances', image(i))
  const [first] = await Promise.all(Array.from({ length: FILES }, (_, i) => few(() => upload(i))))
  return first.ParentStudy
}

for (const { name, make } of places())
  describe(`deferred removals of an Orthanc on ${name}`, () => {
    let folder: string
    let place: Place
    let orthanc: OrthancProcess

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-deferred-'))
      place = await make()
      orthanc = await startOrthanc({
        config: { ...place.config, CloudStorage: { DeferredDeletion: true }, StorageDirectory: 'index' },
        dir: folder,
      })
    })
    after(async () => {
      await orthanc?.stop()
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    it('reach the store, each one', async () => {
      const study = await uploadStudy(orthanc, 1)
      assert.equal((await place.keys()).length, FILES)
      await orthanc.delete(`/studies/${study}`)
      await until('the store to be empty', async () => (await place.keys()).length === 0)
      const empty = async () => (await orthanc.getJson('/cloud-storage/status')).PendingDeletions === 0
      await until('the journal to be empty', empty)
      const status = await orthanc.getJson('/cloud-storage/status')
      assert.equal(status.Removals, FILES)
      assert.equal(status.DeletionFindings, 0)
      assert.doesNotMatch(orthanc.log(), /one by one|cannot remove/)
    })

    it('leave nothing in the journal when Orthanc has stopped', async () => {
      const study = await uploadStudy(orthanc, 2)
      await orthanc.delete(`/studies/${study}`)
      await orthanc.stop()
      assert.deepEqual(await place.keys(), [])
      assert.deepEqual(readdirSync(join(folder, 'index', JOURNAL)), [])
    })
  })

describe('an Orthanc with deferred removals', () => {
  it('does not start where the journal cannot be kept, and says what to do', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-deferred-'))
    const DirectoryStorage = { Path: join(folder, 'objects') }
    const refused = async (DeferredDeletion: object, line: RegExp) => {
      const config = { DirectoryStorage, CloudStorage: { DeferredDeletion }, StorageDirectory: 'index' }
      await assert.rejects(startOrthanc({ config, dir: folder }), (error: Error) => line.test(error.message))
    }
    await refused({ Path: join(folder, 'not', 'there') }, /cannot be kept in .*The folder .* must be there/)
    await refused({ Path: join(folder, 'objects', 'x') }, /must not be inside DirectoryStorage\.Path/)
    rmSync(folder, { recursive: true, force: true })
  })

  it('says at start that removals are left when they are turned off', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-deferred-'))
    const config = { DirectoryStorage: { Path: join(folder, 'objects') }, StorageDirectory: 'index' }
    const journal = join(folder, 'index', JOURNAL)
    mkdirSync(journal, { recursive: true })
    const entry = { kind: 'removal', store: 's3 aws eu-central-1 old', key: 'a', at: 5 } as const
    writeFileSync(join(journal, '0000000001.journal'), lineOf(entry))
    const orthanc = await startOrthanc({ config, dir: folder })
    await orthanc.logged(/has 1 removals that nobody carries out, because DeferredDeletion is off/)
    await orthanc.stop()
    rmSync(folder, { recursive: true, force: true })
  })
})

const [server] = Object.entries(ways())
if (server) {
  const [name, way] = server
  describe(`deferred removals of an Orthanc whose store (${name}) is away`, () => {
    let folder: string
    let place: Place
    let orthanc: OrthancProcess
    let config: Record<string, unknown>
    const proxy = new FaultProxy(way.origin)

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-deferred-'))
      place = await way.make()
      const origin = await proxy.open()
      const [[section, options] = ['', {}]] = Object.entries(place.config)
      config = {
        [section]: { ...way.through(options, origin), MaxRetries: 1 },
        CloudStorage: { DeferredDeletion: true, StartupTimeout: 60 },
        StorageDirectory: 'index',
      }
      orthanc = await startOrthanc({ config, dir: folder })
    })
    after(async () => {
      await orthanc?.stop()
      await proxy.close()
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    const restart = async () => {
      orthanc = await startOrthanc({ config, dir: folder })
    }
    const pending = async () => (await orthanc.getJson('/cloud-storage/status')).PendingDeletions
    const noted = () => until('all removals to be noted', async () => (await pending()) === FILES)
    const emptied = () => until('the store to be empty', async () => (await place.keys()).length === 0)
    const killEngine = () => process.kill(orthanc.enginePid() as number, 'SIGKILL')
    const killOrthanc = async () => {
      process.kill(orthanc.pid, 'SIGKILL')
      await orthanc.exited
      return true
    }

    /** True: Orthanc has ended. */
    const ends: Readonly<Record<string, () => Promise<boolean>>> = {
      'when it answers again': async () => false,
      'when the engine was killed': async () => {
        const killed = orthanc.enginePid()
        killEngine()
        await until('the next engine', () => orthanc.enginePid() !== killed && orthanc.enginePid())
        return false
      },
      'when Orthanc was killed': killOrthanc,
      'when engine and Orthanc were killed': async () => {
        killEngine()
        return await killOrthanc()
      },
      'when Orthanc was stopped': async () => {
        await orthanc.stop()
        return true
      },
    }
    for (const [i, [what, end]] of Object.entries(ends).entries())
      it(`reach it ${what}`, async () => {
        const study = await uploadStudy(orthanc, 10 + i)
        assert.equal((await place.keys()).length, FILES)
        await proxy.close()
        await orthanc.delete(`/studies/${study}`) // nobody waits for the store
        await noted()
        const hasEnded = await end()
        assert.equal((await place.keys()).length, FILES)
        await proxy.open()
        if (hasEnded) await restart()
        await emptied()
        await until('the journal to be empty', async () => (await pending()) === 0)
      })

    it('are listed and carried out by the command line, and not while Orthanc runs', async () => {
      const study = await uploadStudy(orthanc, 30)
      const file = join(folder, 'site.json')
      writeFileSync(file, JSON.stringify(config))
      const cli = (...more: string[]) =>
        run(process.execPath, [join(dirname(PLUGIN), 'cli.mjs'), 'deletions', '--config', file, ...more]).then(
          ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
          ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
        )
      await proxy.close()
      await orthanc.delete(`/studies/${study}`)
      await noted()
      const refused = await cli('--drain')
      assert.equal(refused.code, 1)
      assert.match(refused.stderr, /process \d+ on \S+ uses the journal of removals/)
      await orthanc.stop()
      assert.match((await cli()).stdout, new RegExp(`: ${FILES} removals for \\S+ left, the oldest for \\d+ s`))
      const away = await cli('--drain')
      assert.equal(away.code, 1)
      assert.match(away.stderr, new RegExp(`${FILES} removals could not be carried out`))
      await proxy.open()
      const { code, stdout } = await cli('--drain', '--json')
      assert.equal(code, 0)
      assert.deepEqual([JSON.parse(stdout).Removed, JSON.parse(stdout).Pending], [FILES, 0])
      assert.deepEqual(await place.keys(), [])
      await restart()
    })
  })
}
