/**
 * The engine as a process of its own, spoken to as the plugin does. What Orthanc makes of it is tested in test/live.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { explorer } from '../src/explorer/script.ts'
import { MARKER } from '../src/stores/directory/names.ts'
import { Kind, PROTOCOL, Registration, StartFlag, Verb } from '../src/wire/frames.ts'
import { httpReplies } from '../src/wire/http-replies.ts'
import { type PeerConnection, PluginPeer, type Received } from './support/peer.ts'

const engine = new URL('../src/engine.ts', import.meta.url).pathname

describe('the engine process', () => {
  let plugin: PluginPeer
  let child: ChildProcess
  let control: PeerConnection
  let folder: string
  let exited: Promise<number | null>

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-engine-'))
    plugin = await new PluginPeer().listen()
    child = spawn(process.execPath, [engine, plugin.path], { stdio: ['ignore', 'inherit', 'inherit'] })
    exited = new Promise(resolve => child.once('exit', resolve))
    control = await plugin.accept()
  })

  afterEach(async () => {
    child.kill('SIGKILL')
    await exited
    plugin.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const directory = () => ({ DirectoryStorage: { Path: join(folder, 'objects') } })
  const last = (frames: Received[]) => frames.at(-1) as Received
  const lines = (frames: Received[]) => frames.filter(f => f.kind === Kind.log).map(f => f.payload.toString())

  async function worker(): Promise<PeerConnection> {
    control.send(Kind.grow, { argument: 1 })
    const peer = await plugin.accept()
    const hello = await peer.receive()
    assert.deepEqual([hello.kind, hello.flags, hello.argument], [Kind.hello, 1, PROTOCOL])
    return peer
  }

  it('says hello, registers its error codes and accepts, saying where files go', async () => {
    const frames = await control.start(directory())
    assert.deepEqual([frames[0]?.kind, frames[0]?.flags, frames[0]?.argument], [Kind.hello, 0, PROTOCOL])
    const codes = frames.filter(frame => frame.kind === Kind.errorCode)
    assert.deepEqual(
      codes.map(code => [code.status, code.argument]),
      Object.values(httpReplies).map(reply => [reply.number, reply.http]),
    )
    assert.deepEqual([last(frames).status, last(frames).flags], [0, StartFlag.on | StartFlag.ranges])
    assert.ok(last(frames).argument > 60_000)
    assert.match(lines(frames).join('\n'), /stores Orthanc's files in directory:/)
  })

  const unreachable = {
    AwsS3Storage: {
      BucketName: 'b',
      Region: 'r',
      AccessKey: 'a',
      SecretKey: 's',
      Endpoint: 'http://127.0.0.1:9',
      MaxRetries: 0,
    },
    CloudStorage: { StartupTimeout: 0 },
  }

  it('looks at the store when Orthanc starts', async () => {
    const refusal = last(await control.start(unreachable))
    assert.equal(refusal.status, httpReplies.Unavailable.number)
    assert.match(refusal.payload.toString(), /^cannot use s3:b: /)
  })

  it('is told how new Orthanc is', async () => {
    const frames = await control.start(unreachable, PROTOCOL, 1, '1.13.0')
    assert.match(lines(frames).join('\n'), /\{"StorageLoaderThreadsCount": 16\}$/m)
  })

  it('does not look at the store when it follows an engine that died', async () => {
    assert.equal(last(await control.start(unreachable, PROTOCOL, 1)).status, 0)
    assert.equal((await (await worker()).read(randomUUID(), 1)).status, httpReplies.Unavailable.number)
  })

  it('stores, reads and removes a file under its key', async () => {
    await control.start(directory())
    const peer = await worker()
    const uuid = randomUUID()
    const content = Buffer.alloc(700_000, 'orthanc')
    const stored = () => readdirSync(join(folder, 'objects')).filter(name => name !== MARKER)
    assert.equal((await peer.create(uuid, 1, content)).status, 0)
    assert.deepEqual(stored(), [`${uuid}.dcm`])
    assert.deepEqual((await peer.read(uuid, 1)).result, content)
    assert.equal((await peer.remove(uuid, 1)).status, 0)
    assert.equal((await peer.read(uuid, 1)).status, httpReplies.NotFound.number)
    assert.deepEqual(stored(), [])
  })

  it('serves its status, whose route it registers with Orthanc', async () => {
    const frames = await control.start(directory())
    const registrations = frames.filter(frame => frame.kind === Kind.register)
    assert.deepEqual(
      registrations.map(({ flags, payload }) => [flags, payload.toString()]),
      [
        [Registration.route, '/cloud-storage/status'],
        [Registration.route, '/cloud-storage/ready'],
        [Registration.route, '/(patients|studies|series|instances)/([0-9a-f-]{44})/cloud-storage'],
        [Registration.route, '/cloud-storage/prefetch'],
        [Registration.route, '/cloud-storage/verify'],
        [Registration.jobType, 'VerifyStorage'],
        [Registration.metrics, ''],
        [Registration.explorer, explorer],
      ],
    )
    const { argument, result } = await (await worker()).rest(1, '/cloud-storage/status')
    const { Store, EngineRestarts, Reachable, HybridMode } = JSON.parse(result.toString())
    assert.deepEqual([argument, EngineRestarts, Reachable, HybridMode], [200, 0, true, 'Disabled'])
    assert.equal(Store, `directory:${join(folder, 'objects')}`)
  })

  it('reports moves, and has their job type, in a hybrid mode only', async () => {
    const hybrid = { DirectoryStorage: { Path: join(folder, 'objects'), HybridMode: 'WriteToFileSystem' } }
    const frames = await control.start({ ...hybrid, StorageDirectory: join(folder, 'disk') })
    const registrations = frames
      .filter(frame => frame.kind === Kind.register)
      .map(({ flags, payload }) => `${flags} ${payload}`)
    assert.ok(registrations.includes(`${Registration.route} /move-storage`))
    assert.ok(registrations.includes(`${Registration.jobType} MoveStorage`))
  })

  it('has a cache, whose job type comes after that of moves, and refuses a folder with files of others', async () => {
    const hybrid = { DirectoryStorage: { Path: join(folder, 'objects'), HybridMode: 'WriteToFileSystem' } }
    const Path = join(folder, 'cache')
    const cached = { ...hybrid, StorageDirectory: join(folder, 'disk'), CloudStorage: { Cache: { Path } } }
    const frames = await control.start(cached)
    const types = frames.filter(({ kind, flags }) => kind === Kind.register && flags === Registration.jobType)
    assert.deepEqual(
      types.map(({ payload }) => payload.toString()),
      ['MoveStorage', 'Prefetch', 'VerifyStorage'],
    )
    const { result } = await (await worker()).rest(1, '/cloud-storage/status')
    assert.equal(JSON.parse(result.toString()).Cache, 'On')
  })

  it('is disabled without a section of a provider', async () => {
    const frames = await control.start({ Name: 'Orthanc' })
    assert.deepEqual([last(frames).status, last(frames).flags], [0, 0])
    assert.match(last(frames).payload.toString(), /disabled/)
  })

  it('refuses a bad configuration with one line that names the option, and ends', async () => {
    const frames = await control.start({ DirectoryStorage: { Path: folder, StorageStructure: 'Flat' } })
    assert.equal(last(frames).status, httpReplies.BadConfig.number)
    assert.match(last(frames).payload.toString(), /^[^\n]*DirectoryStorage\.StorageStructure[^\n]*flat[^\n]*$/)
    assert.equal(await exited, 0)
  })

  it('refuses a folder that cannot be made, and ends', async () => {
    const frames = await control.start({ DirectoryStorage: { Path: join(folder, 'absent', 'objects') } })
    assert.notEqual(last(frames).status, 0)
    assert.match(last(frames).payload.toString(), /absent/)
    assert.equal(await exited, 0)
  })

  it('starts unseen with StartupCheck false, and tells at the first call', async () => {
    const Path = join(folder, 'absent', 'objects')
    const frames = await control.start({ DirectoryStorage: { Path }, CloudStorage: { StartupCheck: false } })
    assert.equal(last(frames).status, 0)
    assert.equal(existsSync(Path), false)
  })

  it('refuses another protocol, naming both', async () => {
    const frames = await control.start(directory(), PROTOCOL + 1)
    assert.match(last(frames).payload.toString(), new RegExp(`protocol ${PROTOCOL + 1}.* protocol ${PROTOCOL}`))
    assert.equal(await exited, 0)
  })

  it('answers PING', async () => {
    await control.start(directory())
    control.send(Kind.ping, { argument: 42 })
    const pong = await control.receive()
    assert.deepEqual([pong.kind, pong.argument], [Kind.pong, 42])
  })

  it('logs one line with size and time for each operation', async () => {
    await control.start(directory())
    const peer = await worker()
    const uuid = randomUUID()
    await peer.create(uuid, 2, Buffer.alloc(1000))
    const { kind, flags, payload } = await control.receive()
    assert.deepEqual([kind, flags], [Kind.log, 2])
    assert.match(payload.toString(), new RegExp(`wrote '${uuid}.json' to directory:.* in .* ms`))
  })

  it('ends with 0 after STOP', async () => {
    await control.start(directory())
    await worker()
    control.send(Kind.call, { flags: Verb.stop })
    assert.equal(await exited, 0)
  })

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    it(`serves on when ${signal} comes to the whole process group, until the plugin says STOP`, async () => {
      await control.start(directory())
      const peer = await worker()
      child.kill(signal)
      for (const uuid of [randomUUID(), randomUUID()])
        assert.equal((await peer.create(uuid, 1, Buffer.alloc(600_000))).status, 0)
      assert.equal((await worker().then(another => another.create(randomUUID(), 1, Buffer.alloc(1)))).status, 0)
      control.send(Kind.call, { flags: Verb.stop })
      assert.equal(await exited, 0)
    })

  it('ends when the plugin is gone before it has started', async () => {
    const silent = createServer()
    await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
    const asked = once(silent, 'connection')
    const { port } = silent.address() as AddressInfo
    const Endpoint = `http://127.0.0.1:${port}`
    control.start({ AwsS3Storage: { ...unreachable.AwsS3Storage, Endpoint } }).catch(() => {})
    const [socket] = await asked
    control.socket.destroy()
    assert.equal(await exited, 0)
    socket.destroy()
    silent.close()
  })

  it('ends when the plugin is gone', async () => {
    await control.start(directory())
    control.socket.destroy()
    assert.equal(await exited, 0)
  })
})
