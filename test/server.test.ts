/** The control connection and the growth of the pool, against the plugin's side played by peer.ts. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { StorageArea } from '../src/area/area.ts'
import { Kind, Verb } from '../src/wire/frames.ts'
import { Server } from '../src/wire/server.ts'
import { type PeerConnection, PluginPeer } from './support/peer.ts'

/** As many connections as an engine has at most. */
const MOST = 512

describe('the pool of worker connections', () => {
  let plugin: PluginPeer
  let server: Server
  let control: PeerConnection
  let served: Promise<boolean>
  let remove: () => Promise<void>

  beforeEach(async () => {
    plugin = await new PluginPeer().listen()
    remove = async () => {}
    server = await Server.connect(plugin.path, '0')
    control = await plugin.accept()
    await control.receive()
    served = server.serve({ area: { remove: () => remove() } as unknown as StorageArea })
  })

  afterEach(async () => {
    control.socket.destroy()
    await served
    plugin.close()
  })

  it('reports a connection that fails, and lives on', async () => {
    plugin.vanish()
    control.send(Kind.grow, { argument: 3 })
    const { kind, argument, payload } = await control.receive()
    assert.deepEqual([kind, argument], [Kind.grow, 3])
    assert.match(payload.toString(), /ENOENT/)
    await plugin.listen()
    control.send(Kind.grow, { argument: 1 })
    const worker = await plugin.accept()
    await worker.receive()
    assert.equal((await worker.remove(randomUUID(), 1)).status, 0)
    worker.socket.destroy()
  })

  it("does not connect where another user could listen in the plugin's place", async () => {
    chmodSync(plugin.folder, 0o777)
    control.send(Kind.grow, { argument: 1 })
    const { kind, payload } = await control.receive()
    assert.equal(kind, Kind.grow)
    assert.match(payload.toString(), /is not the folder that the plugin made/)
  })

  it('connects to nobody who takes the place of the folder while it looks', async () => {
    const stranger = await new PluginPeer().listen()
    chmodSync(stranger.folder, 0o777) // another owner cannot be tested here: tests have one user
    const served = stranger.accept().then(() => assert.fail('it connected to a stranger'))
    served.catch(() => {}) // asserted below
    const swap = `
      const { renameSync } = require('node:fs')
      const [, ours, theirs] = process.argv
      const exchange = () => {
        renameSync(ours, ours + '.away')
        renameSync(theirs, ours)
        renameSync(ours, theirs)
        renameSync(ours + '.away', ours)
      }
      process.on('disconnect', () => process.exit())
      setInterval(() => { for (let i = 0; i < 200; i++) exchange() }, 1)`
    const attacker = spawn(process.execPath, ['-e', swap, plugin.folder, stranger.folder], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    let [reached, refused] = [0, 0]
    try {
      let arrived = plugin.accept()
      let sentAway = control.receive()
      while (reached < 100 || refused < 100) {
        control.send(Kind.grow, { argument: 1 })
        const next = await Promise.race([arrived, sentAway, served])
        if ('socket' in next) {
          reached++
          next.socket.destroy()
          arrived = plugin.accept()
        } else {
          refused++
          sentAway = control.receive()
          sentAway.catch(() => {}) // nobody waits for what comes after the last one
        }
      }
    } finally {
      attacker.disconnect()
      await once(attacker, 'exit')
      stranger.close()
    }
  })

  it('connects where the socket has moved to', async () => {
    plugin.vanish()
    const other = await new PluginPeer().listen()
    control.send(Kind.grow, { argument: 1 }, other.path)
    const worker = await other.accept()
    assert.equal((await worker.receive()).kind, Kind.hello)
    worker.socket.destroy()
    other.close()
  })

  it('has room again when connections close, whatever their calls still do', async () => {
    const begun = Promise.withResolvers<void>()
    let calls = 0
    remove = () => {
      if (++calls === MOST) begun.resolve()
      return new Promise(() => {}) // a file system that hangs does not look at a signal
    }
    control.send(Kind.grow, { argument: MOST + 1 })
    const workers = await Promise.all(Array.from({ length: MOST }, () => plugin.accept()))
    const refused = await control.receive()
    assert.deepEqual([refused.kind, refused.argument], [Kind.grow, 1])
    for (const worker of workers) worker.send(Kind.call, { flags: Verb.remove, status: 1 }, randomUUID())
    await begun.promise
    for (const worker of workers) worker.socket.destroy()
    const worker = plugin.accept()
    for (let refused = true; refused; ) {
      control.send(Kind.grow, { argument: 1 })
      refused = (await Promise.race([worker.then(() => 'accepted'), control.receive()])) !== 'accepted'
    }
    ;(await worker).socket.destroy()
  })
})
