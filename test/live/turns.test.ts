/** Two Orthancs with one disk take turns at moving files. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { directoryStore } from '../../src/stores/directory/directory.ts'
import { LEASE } from '../../src/stores/directory/names.ts'
import { sha256 } from '../support/sha256.ts'
import { directoryPlace, type Place } from './support/places.ts'

describe('two Orthancs with one disk', () => {
  let folder: string
  let disk: string
  let place: Place
  let nodes: OrthancProcess[]

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-turns-'))
    disk = join(folder, 'disk')
    mkdirSync(disk)
    place = await directoryPlace()
    const [[section, options] = ['', {}]] = Object.entries(place.config)
    const config = { [section]: { ...options, HybridMode: 'WriteToFileSystem' }, StorageDirectory: disk }
    nodes = await Promise.all(['a', 'b'].map(name => startOrthanc({ config, dir: join(folder, name) })))
  })
  after(async () => {
    for (const node of nodes ?? []) await node.stop()
    await place?.dispose()
    rmSync(folder, { recursive: true, force: true })
  })

  it('move in turns, and each says for whom it waits', async () => {
    // This process is a third one that moves.
    const lease = directoryStore(disk, { marked: false }).lease({ place: 'file-system', warn: assert.fail })
    const share = await lease.take()
    assert.ok('end' in share)

    const jobs: { node: OrthancProcess; id: string; files: Map<string, string> }[] = []
    for (const [i, node] of nodes.entries()) {
      const files = new Map<string, string>()
      for (let seed = 1; seed <= 20; seed++) {
        const file = makeImage({ seed: seed + i * 100, rows: 64, columns: 64 })
        files.set((await node.postJson('/instances', file)).ID, sha256(file))
      }
      const Resources = await node.getJson('/patients')
      const body = { Resources, TargetStorage: 'object-storage', Asynchronous: true }
      jobs.push({ node, files, id: (await node.postJson('/move-storage', Buffer.from(JSON.stringify(body)))).ID })
    }
    for (const { node, id } of jobs) {
      const { WaitsFor } = (
        await until('the job to wait', async () => {
          const job = await node.getJson(`/jobs/${id}`)
          return job.State === 'Running' && job.Content.WaitsFor && job
        })
      ).Content
      assert.deepEqual([WaitsFor.Host, WaitsFor.Process], [hostname(), process.pid])
      await node.logged(new RegExp(`W.*a move waits: it is the turn of process ${process.pid} on `))
    }
    // A job that waits can be canceled and asked for again, like any other.
    const [first] = jobs as [(typeof jobs)[0]]
    await first.node.postJson(`/jobs/${first.id}/cancel`, Buffer.from('{}'))
    assert.equal((await first.node.job(first.id)).State, 'Failure')
    await first.node.postJson(`/jobs/${first.id}/resubmit`, Buffer.from('{}'))
    await share.end()
    for (const { node, id, files } of jobs) {
      const { State, Content } = await node.job(id)
      assert.deepEqual([State, Content.Moved.Files, Content.WaitsFor], ['Success', 20, undefined])
      for (const [instance, hash] of files)
        assert.equal(sha256(await node.getBytes(`/instances/${instance}/file`)), hash)
    }
    assert.equal((await place.keys()).length, 40)
    await until('the lease to be gone', () => !existsSync(join(disk, LEASE)))
    assert.deepEqual(readdirSync(disk), [])
  })

  it('give their turn back when they stop in the middle', async () => {
    const [node] = nodes as [OrthancProcess]
    const body = { Resources: await node.getJson('/patients'), TargetStorage: 'file-system', Asynchronous: true }
    await node.postJson('/move-storage', Buffer.from(JSON.stringify(body)))
    await until('the first file', () => readdirSync(disk).some(name => name.length === 2))
    nodes = nodes.slice(1)
    await node.stop()
    assert.equal(existsSync(join(disk, LEASE)), false)
  })
})
