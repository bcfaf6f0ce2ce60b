/**
 * Other users of the machine, as real processes: they do not reach the plugin's socket, and with a socket of their own
 * they do not reach the engine.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, PLUGIN, startOrthanc } from '../../harness/orthanc.ts'
import { Kind, PROTOCOL } from '../../src/wire/frames.ts'
import { encodeFrame } from '../support/encode-frame.ts'

/** The user "nobody" of every system. */
const STRANGER = 65534
const asRoot = process.geteuid?.() === 0
if (!asRoot && process.env['LIVE'] === 'required') throw new Error('LIVE=required, but only root can be another user')

/** A connection that was let in is never closed. This only ends a broken run. */
const HANGS_MS = 60_000

/** Node.js as the other user. */
const asStranger = (script: string, ...args: string[]): [string, string[]] => {
  const user = ['--reuid', `${STRANGER}`, '--regid', `${STRANGER}`, '--clear-groups', '--']
  return ['setpriv', [...user, process.execPath, '-e', script, ...args]]
}

/** Connects, says HELLO as a worker does, and prints what happens. */
const KNOCK = `
  const socket = require('node:net').connect(process.argv[1])
  const hello = Buffer.from('${encodeFrame(Kind.hello, { argument: PROTOCOL, flags: 1 }, '0').toString('hex')}', 'hex')
  let bytes = 0
  socket.on('connect', () => socket.write(hello))
  socket.on('data', chunk => { bytes += chunk.length })
  socket.on('error', error => console.log(error.code))
  socket.on('close', () => console.log('closed after ' + bytes + ' bytes'))`

describe('another user', { skip: asRoot ? false : 'only root can be another user' }, () => {
  let folder: string
  let orthanc: OrthancProcess | undefined
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-isolation-'))
    chmodSync(folder, 0o755)
  })
  afterEach(async () => {
    await orthanc?.stop()
    orthanc = undefined
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const start = async (temporary: string) => {
    const config = { DirectoryStorage: { Path: join(folder, 'objects') }, TemporaryDirectory: temporary }
    orthanc = await startOrthanc({ config, dir: join(folder, 'orthanc') })
    const [name = ''] = readdirSync(temporary).filter(entry => entry.startsWith('orthanc-cloud-storage-'))
    return { on: orthanc, place: join(temporary, name), socket: join(temporary, name, 'engine.sock') }
  }
  const knock = (socket: string) => {
    const [command, args] = asStranger(KNOCK, socket)
    return spawnSync(command, args, { encoding: 'utf8', timeout: HANGS_MS }).stdout.trim().split('\n')
  }

  it('finds no way to the socket, and is sent away where he is let to it', async () => {
    const temporary = join(folder, 'temporary')
    mkdirSync(temporary)
    chmodSync(temporary, 0o1777)
    const { on, place, socket } = await start(temporary)
    assert.equal(statSync(place).mode & 0o777, 0o700)
    assert.deepEqual(knock(socket), ['EACCES', 'closed after 0 bytes'])
    // An administrator may do this by mistake.
    chmodSync(place, 0o755)
    chmodSync(socket, 0o777)
    for (let times = 0; times < 5; times++) {
      const said = knock(socket)
      assert.equal(said.at(-1), 'closed after 0 bytes', said.join())
      assert.ok(!said.includes('EACCES'), 'he was let to the socket')
    }
    const { ID } = await on.postJson('/instances', makeImage({ seed: 1, rows: 64, columns: 64 }))
    assert.equal((await on.request('GET', `/instances/${ID}/file`)).status, 200)
    assert.doesNotMatch(on.log(), /is started again/)
  })

  it('cannot be taken for Orthanc by an engine, whatever he lets it find', async () => {
    const listen = `
      const server = require('node:net').createServer(() => console.log('CONNECTED'))
      server.listen(process.argv[1], () => { require('node:fs').chmodSync(process.argv[1], 0o777); console.log('ready') })`
    for (const mode of [0o700, 0o755, 0o777]) {
      const place = join(folder, `planted-${mode}`)
      mkdirSync(place)
      chownSync(place, STRANGER, STRANGER)
      chmodSync(place, mode)
      const socket = join(place, 'engine.sock')
      const [command, args] = asStranger(listen, socket)
      const stranger = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      let output = ''
      await new Promise<void>(resolve =>
        stranger.stdout.on('data', chunk => {
          output += chunk
          if (output.includes('ready')) resolve()
        }),
      )
      const engine = spawnSync(process.execPath, [join(dirname(PLUGIN), 'engine.mjs'), socket], { encoding: 'utf8' })
      assert.notEqual(engine.status, 0)
      assert.match(engine.stderr, /is not the folder that the plugin made for its socket/)
      const gone = new Promise(resolve => stranger.once('exit', resolve))
      stranger.kill()
      await gone
      assert.equal(output.trim(), 'ready')
    }
  })
})
