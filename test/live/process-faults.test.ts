/** Engine and Orthanc are killed, stopped and starved under a load: one Orthanc must survive it all. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, PLUGIN, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import { believed, Load } from './support/load.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

const WORKERS = 6
const small = [64, 64, 332, 1024]
const mixed = [64, 64, 64, 332, 332, 2560]
const kinds = [
  ...(s3Server() ? [{ name: 'S3, in parts', make: () => s3Place({ UseTransferManager: true }), rows: mixed }] : []),
  ...(LONG && s3Server()
    ? [
        { name: 'S3, hybrid', make: () => s3Place(), rows: small, more: { HybridMode: 'WriteToObjectStorage' } },
        { name: 'S3, in parts, sealed', make: () => s3Place({ UseTransferManager: true }), rows: mixed, sealed: true },
      ]
    : []),
  { name: 'a directory', make: () => directoryPlace(), rows: small },
]

for (const { name, make, rows, more, sealed } of LONG ? kinds : kinds.slice(0, 1))
  describe(`under a load, an Orthanc on ${name}`, () => {
    let folder: string
    let place: Place
    let orthanc: OrthancProcess
    let load: Load
    let kills = 0
    const temporary = () => join(folder, 'temporary')
    const engineFile = () => join(folder, 'engine.mjs')
    const nodeFile = () => join(folder, 'node')
    const keyFile = () => join(folder, 'master.key')
    const logs: string[] = []

    const start = async () => {
      const [[section, options] = ['', {}]] = Object.entries(place.config)
      orthanc = await startOrthanc({
        config: {
          [section]: { ...options, ...more, ...(sealed && { StorageEncryption: { MasterKey: [1, keyFile()] } }) },
          TemporaryDirectory: temporary(),
          CloudStorage: { Engine: engineFile(), Node: nodeFile() },
        },
        dir: folder,
      })
      return orthanc
    }
    /** `options`: of Node.js. */
    const install = (options = '') => {
      copyFileSync(join(dirname(PLUGIN), 'engine.mjs'), engineFile())
      writeFileSync(nodeFile(), `#!/bin/sh\nexec '${process.execPath}' ${options} "$@"\n`, { mode: 0o700 })
    }
    const kill = (signal: NodeJS.Signals) => {
      const pid = orthanc.enginePid()
      if (pid) process.kill(pid, signal)
    }
    const stop = async () => {
      await load.stop()
      await orthanc.stop()
      logs.push(orthanc.log())
    }

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-process-'))
      mkdirSync(temporary())
      install()
      writeFileSync(keyFile(), Buffer.alloc(32, 7).toString('base64'), { mode: 0o600 })
      place = await make()
      load = new Load(await start(), { rows, workers: WORKERS }).start()
      await load.more(10)
    })
    after(async () => {
      await load?.stop()
      await orthanc?.stop()
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    it('fails no operation when its engine is killed again and again', async () => {
      const failed = load.failures.length
      for (let round = 1; round <= (LONG ? 3 : 1); round++) {
        // An operation is given up after five engines. So after that many kills all operations must end.
        for (let times = 1; times <= (LONG ? 4 : 3); times++) {
          await load.more(1 + ((times * 7 + round) % 5)) // somewhere in the middle of the others
          kill('SIGKILL')
          kills++
        }
        await load.stop()
        load.start()
      }
      await load.more(WORKERS)
      assert.deepEqual(load.failures.slice(failed), [])
      assert.doesNotMatch(orthanc.log(), /cannot remove/)
    })

    it('goes on with an engine that was stopped for a while', async () => {
      const pid = orthanc.enginePid() as number
      process.kill(pid, 'SIGSTOP')
      const requests = () => orthanc.log().split('(http) ').length
      const reached = requests() + 2
      const asked = [orthanc.getJson('/cloud-storage/status'), orthanc.getJson('/cloud-storage/status')]
      await until('both to have reached Orthanc', () => requests() >= reached)
      process.kill(pid, 'SIGCONT')
      await Promise.all(asked)
      await load.more(WORKERS)
      assert.equal(orthanc.enginePid(), pid)
    })

    if (LONG)
      it('replaces an engine that is stopped for good', async () => {
        const failed = load.failures.length
        kill('SIGSTOP')
        kills++
        await orthanc.logged(/the storage engine does not answer any more and is killed/)
        await load.more(WORKERS)
        assert.deepEqual(load.failures.slice(failed), [])
      })

    const half = () => readFileSync(engineFile()).subarray(0, 1e6)
    const troubles: Readonly<Record<string, () => void>> = {
      'its file is half written, as in the middle of an update': () => writeFileSync(engineFile(), half()),
      ...(LONG && {
        'its file is empty': () => writeFileSync(engineFile(), ''),
        'it ends at once': () => writeFileSync(engineFile(), 'process.exit(3)'),
        'Node.js is gone': () => rmSync(nodeFile()),
        'it has too little memory': () => install('--max-old-space-size=4'),
      }),
    }
    for (const [what, trouble] of Object.entries(troubles))
      it(`answers at once, and serves again by itself, when no engine can start because ${what}`, async () => {
        const before = orthanc.log().length
        trouble()
        kill('SIGKILL')
        kills++
        await until('the line that says so', () =>
          /E.*the storage engine cannot start\. /.test(orthanc.log().slice(before)),
        )
        await load.moreFailed(WORKERS)
        install()
        await load.more(WORKERS)
      })

    it('has room again when the descriptors of the engine, or its own, were used up', async t => {
      const limit = (pid: number, files: number) =>
        execFileSync('prlimit', ['--pid', String(pid), `--nofile=${files}:4096`], { stdio: 'ignore' })
      try {
        limit(orthanc.pid, 4096)
      } catch {
        return t.skip('prlimit cannot be run')
      }
      const engine = await until('an engine', () => orthanc.enginePid())
      limit(engine, 8)
      // The plugin's connections are there already. So the engine must open files, or connections to its store, or more
      // connections to the plugin.
      const asked = Array.from({ length: 30 }, () => orthanc.request('GET', '/cloud-storage/status'))
      await orthanc.logged(/cannot open another connection: .*EMFILE/)
      limit(engine, 4096)
      for (const { status } of await Promise.all(asked)) assert.equal(status, 200)
      await load.more(WORKERS)
      limit(orthanc.pid, 8)
      kill('SIGKILL')
      kills++
      await orthanc.logged(/cannot make a pipe for the storage engine: Too many open files\. Raise/)
      limit(orthanc.pid, 4096)
      await load.more(WORKERS)
    })

    it('serves others while slow clients take, and send, next to nothing', async () => {
      const { ID } = await orthanc.postJson('/instances', makeImage({ seed: 1, rows: 1448, columns: 1448, study: 1 }))
      const port = Number(new URL(orthanc.url).port)
      const reads = () => orthanc.log().split(': 4.2 MB in ').length
      const before = reads()
      const head = (what: string) => `${what} HTTP/1.1\r\nHost: x\r\n`
      const slow = Array.from({ length: 30 }, (_, i) => {
        const socket = connect(port, '127.0.0.1').on('error', () => {})
        if (i < 20) socket.pause().write(`${head(`GET /instances/${ID}/file`)}\r\n`)
        else socket.write(`${head('POST /instances')}Content-Length: 5000\r\n\r\nx`)
        return socket
      })
      // The engine has finished its part for all of them, but none has its answer yet.
      await until('the engine to have read all', () => reads() >= before + 20)
      await load.more(3 * WORKERS)
      for (const socket of slow) socket.destroy()
    })

    it('works after POST /tools/reset', async () => {
      for (let times = 1; times <= (LONG ? 5 : 1); times++) {
        const engine = orthanc.enginePid()
        await orthanc.request('POST', '/tools/reset', Buffer.from('')).catch(() => undefined)
        await until('another engine', () => ![engine, undefined].includes(orthanc.enginePid()))
        await orthanc.ready()
        await load.more(WORKERS)
      }
    })

    for (const signal of ['SIGTERM', 'SIGKILL'] as const)
      it(`has everything that it acknowledged after ${signal} to it and its engine`, async () => {
        for (let times = 1; times <= (LONG && signal === 'SIGKILL' ? 5 : 1); times++) {
          await load.more(WORKERS)
          const engine = orthanc.enginePid() as number
          if (signal === 'SIGTERM') process.kill(engine, signal)
          else kills++
          orthanc.kill(signal)
          await orthanc.exited
          await load.stop()
          logs.push(orthanc.log())
          await until('the engine to end', () => !runs(engine))
          const left = readdirSync(temporary())
          assert.equal(left.length, signal === 'SIGTERM' ? 0 : 1)
          const old = new Date(Date.now() - 120_000) // as if that were two minutes ago
          for (const one of left) utimesSync(join(temporary(), one), old, old)
          load.orthanc = await start()
          assert.equal(readdirSync(temporary()).length, 1)
          load.start()
          await load.more(WORKERS)
        }
      })

    it('has lost nothing, and left behind no more than it said', async () => {
      await load.stop()
      await load.verify()
      await stop()
      const uuids = believed(join(folder, 'index'))
      const uuidOf = (key: string) => key.slice(key.lastIndexOf('/') + 1).slice(0, 36)
      const orphans = (await place.keys()).filter(key => !uuids.has(uuidOf(key)))
      const said = logs.join('\n').match(/^E.*cannot (remove|write) '/gm)?.length ?? 0
      assert.ok(orphans.length <= said + kills * WORKERS, `${orphans.length} orphans, ${said} failures, ${kills} kills`)
      assert.deepEqual(readdirSync(temporary()), [])
    })
  })

function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
