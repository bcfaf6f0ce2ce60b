/** What a start does while the store, or its bucket, is not there yet. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import { glance, untilReady } from '../src/startup.ts'
import { Kind } from '../src/wire/frames.ts'
import { httpReplies } from '../src/wire/http-replies.ts'
import { stayAlive } from './support/alive.ts'
import { memoryStore } from './support/memory-store.ts'
import { type PeerConnection, PluginPeer, type Received } from './support/peer.ts'

stayAlive()

const away = new Fault('Unavailable', 'nobody there')
const noBucket = new Fault('BadConfig', 'NoSuchBucket', { retryable: true, remedy: "There is no bucket 'b'." })
const wrongKey = new Fault('Denied', 'SignatureDoesNotMatch')

/** A store whose check ends as `ends` says, one after the other, and as the last one from then on. */
function asked(...ends: (Fault | 'hangs' | 'is deaf' | undefined)[]) {
  const lines: string[] = []
  let count = 0
  const check = (signal: AbortSignal) => {
    const end = ends[Math.min(count++, ends.length - 1)]
    if (end === 'is deaf') return new Promise<void>(() => {}) // as a disk that hangs: no signal ends it
    if (end !== 'hangs') return end ? Promise.reject(end) : Promise.resolve()
    return new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(late), { once: true }))
  }
  const late = new Fault('Timeout', 'the deadline has passed', { retryable: false })
  const log = { warn: (line: string) => lines.push(`W ${line}`), error: (line: string) => lines.push(`E ${line}`) }
  const asking = { store: { ...memoryStore(), check }, options: {}, log: log as never }
  return { asking, lines, count: () => count }
}

describe('a start', () => {
  it('asks a store that is not there yet again, and says so', async () => {
    const { asking, lines, count } = asked(away, noBucket, undefined)
    await untilReady(asking, 60_000)
    assert.equal(count(), 3)
    assert.deepEqual(lines, ['W waiting up to 60 s for the store: nobody there [Unavailable]', 'W memory answers now'])
  })

  it('says nothing of a store that answers', async () => {
    const { asking, lines } = asked(undefined)
    await untilReady(asking, 60_000)
    assert.deepEqual(lines, [])
  })

  it('stops at once for a wrong key, also for one that is found while waiting', async () => {
    const first = asked(wrongKey, undefined)
    await assert.rejects(untilReady(first.asking, 60_000), wrongKey)
    assert.deepEqual([first.count(), first.lines], [1, []])
    const later = asked(away, wrongKey, undefined)
    await assert.rejects(untilReady(later.asking, 60_000), wrongKey)
    assert.equal(later.count(), 2)
  })

  it('asks once where nothing may be waited for', async () => {
    const { asking, lines, count } = asked(away, undefined)
    await assert.rejects(untilReady(asking, 0), away)
    assert.deepEqual([count(), lines], [1, []])
  })

  it('ends with the last failure', async () => {
    const { asking, count } = asked(away, noBucket)
    await assert.rejects(untilReady(asking, 700), {
      code: 'BadConfig',
      message: 'NoSuchBucket (after waiting for 0.7 s)',
      remedy: noBucket.remedy,
    })
    assert.ok(count() > 1)
  })

  it('ends with what was said before, when the last question has no answer', async () => {
    const { asking } = asked(away, 'hangs')
    await assert.rejects(untilReady(asking, 300), { code: 'Unavailable', message: /^nobody there/ })
  })
})

describe('a start with a disk that hangs', () => {
  it('ends all the same, and says that it does not answer', async () => {
    const { asking } = asked(away, 'is deaf')
    await assert.rejects(untilReady(asking, 1), { code: 'Unavailable', message: /^nobody there/ })
    const { asking: glanced, lines } = asked('is deaf')
    assert.ok(await glance(glanced, 1))
    assert.match(lines.join(), /^W Orthanc starts without its object store.*cannot use memory: it does not answer/)
  })
})

describe('a start that can do without the store', () => {
  const none = new AbortController().signal

  it('goes on asking until there is an answer', async () => {
    const { asking, lines, count } = asked(away, away, undefined)
    await (await glance(asking))?.(none)
    assert.equal(count(), 3)
    assert.match(lines.join('\n'), /^W Orthanc starts without its object store.*nobody there.*\nW memory answers now$/)
  })

  it('is stopped by a wrong key, or says at ERROR that there is one', async () => {
    await assert.rejects(glance(asked(wrongKey).asking), wrongKey)
    const { asking, lines } = asked(away, wrongKey)
    await (await glance(asking))?.(none)
    assert.match(lines.at(-1) ?? '', /^E SignatureDoesNotMatch/)
  })

  it('ends with Orthanc, without a word', async () => {
    const { asking, lines } = asked(away, 'hangs')
    const abort = new AbortController()
    const asks = (await glance(asking))?.(abort.signal)
    abort.abort()
    await asks
    assert.equal(lines.length, 1)
  })

  it('has nothing to do where the store answers', async () =>
    assert.equal(await glance(asked(undefined).asking), undefined))
})

describe('the engine', () => {
  let folder: string
  let plugin: PluginPeer
  let child: ChildProcess
  let control: PeerConnection
  let exited: Promise<unknown>
  let server: ReturnType<typeof createServer>
  /** What the store says to each request; undefined = it is well. */
  let says: (line: string) => [status: number, code: string] | undefined

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-startup-'))
    says = () => undefined
    server = createServer((request, response) => {
      request.resume()
      request.on('end', () => answer(`${request.method}`, response))
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    plugin = await new PluginPeer().listen()
    const engine = new URL('../src/engine.ts', import.meta.url).pathname
    child = spawn(process.execPath, [engine, plugin.path], { stdio: ['ignore', 'inherit', 'inherit'] })
    exited = new Promise(resolve => child.once('exit', resolve))
    control = await plugin.accept()
  })
  afterEach(async () => {
    child.kill('SIGKILL')
    await exited
    plugin.close()
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })

  function answer(line: string, response: ServerResponse): void {
    const [status, code] = says(line) ?? (line === 'PUT' ? [400, 'BadDigest'] : [404, 'NoSuchKey'])
    response
      .writeHead(status, { 'content-type': 'application/xml', 'x-amz-request-id': 'R' })
      .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>words</Message></Error>`)
  }

  const bucket = (more: object = {}) => ({
    AwsS3Storage: {
      BucketName: 'scans',
      AccessKey: 'a',
      SecretKey: 's',
      Endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      MaxRetries: 0,
      ...more,
    },
    StorageDirectory: join(folder, 'disk'),
  })
  const last = (frames: Received[]) => frames.at(-1) as Received
  const linesOf = (frames: Received[]) =>
    frames.filter(({ kind }) => kind === Kind.log).map(({ payload }) => `${payload}`)

  it('starts when somebody makes the bucket, and names it meanwhile', async () => {
    let asks = 0
    says = () => (++asks < 3 ? [404, 'NoSuchBucket'] : undefined)
    const frames = await control.start(bucket())
    assert.equal(last(frames).status, 0)
    const lines = linesOf(frames)
    assert.ok(
      lines.some(line => /^waiting up to 60 s .*NoSuchBucket.*'scans'/.test(line)),
      lines.join('\n'),
    )
    assert.ok(lines.includes('s3:scans answers now'))
    assert.ok(lines.some(line => /Region is not set.*us-east-1/.test(line)))
  })

  it('refuses at once for a wrong key', async () => {
    says = () => [403, 'SignatureDoesNotMatch']
    const frames = await control.start(bucket())
    assert.equal(last(frames).status, httpReplies.Denied.number)
    assert.ok(!linesOf(frames).some(line => line.startsWith('waiting')))
  })

  it('gives up after StartupTimeout, with the words of the store', async () => {
    says = () => [404, 'NoSuchBucket']
    const frames = await control.start({ ...bucket(), CloudStorage: { StartupTimeout: 1 } })
    assert.equal(last(frames).status, httpReplies.BadConfig.number)
    assert.match(last(frames).payload.toString(), /NoSuchBucket.*after waiting for 1 s.*'scans'/)
  })

  it('does not look at the store where StartupCheck is false', async () => {
    let asks = 0
    says = () => [404, `NoSuchBucket${asks++}`]
    const frames = await control.start({ ...bucket(), CloudStorage: { StartupCheck: false } })
    assert.deepEqual([last(frames).status, asks], [0, 0])
  })

  it('asks for no permission to write where Orthanc is ReadOnly', async () => {
    says = line => (line === 'GET' ? undefined : [403, 'AccessDenied'])
    assert.equal(last(await control.start({ ...bucket(), ReadOnly: true })).status, 0)
  })

  it('starts at once where new files go to the disk, stores them, and says when the store answers', async () => {
    let isThere = false
    says = () => (isThere ? undefined : [503, 'SlowDown'])
    const frames = await control.start(bucket({ HybridMode: 'WriteToFileSystem' }))
    assert.equal(last(frames).status, 0)
    assert.ok(linesOf(frames).some(line => line.startsWith('Orthanc starts without its object store')))
    control.send(Kind.grow, { argument: 1 })
    const worker = await plugin.accept()
    await worker.receive()
    assert.equal((await worker.create(randomUUID(), 1, Buffer.from('image'))).status, 0)
    assert.equal(readdirSync(join(folder, 'disk')).length, 1)
    isThere = true
    for (let line = ''; line !== 's3:scans answers now'; ) {
      const frame = await control.receive()
      line = frame.kind === Kind.log ? frame.payload.toString() : ''
    }
  })

  it('says at ERROR what is wrong with a store that comes later', async () => {
    let code = 'SlowDown'
    says = () => [code === 'SlowDown' ? 503 : 403, code]
    await control.start(bucket({ HybridMode: 'WriteToFileSystem' }))
    code = 'SignatureDoesNotMatch'
    for (;;) {
      const { kind, flags, payload } = await control.receive()
      if (kind !== Kind.log || flags !== 0) continue
      assert.match(payload.toString(), /SignatureDoesNotMatch/)
      break
    }
  })
})
