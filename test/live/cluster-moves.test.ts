/** Moves of two Orthancs over one PostgreSQL, one disk and one bucket. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import type { OrthancProcess } from '../../harness/orthanc.ts'
import { type PostgreSql, startPostgresql } from '../../harness/postgresql.ts'
import type { DebianRelease } from '../../harness/trees.ts'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import { sha256 } from '../support/sha256.ts'
import { Cluster } from './support/cluster.ts'
import { s3Place } from './support/places.ts'
import { liveOrthanc, livePostgresql, liveServer } from './support/servers.ts'

const server = LONG ? liveServer('minio') : undefined
const servers = server !== undefined && livePostgresql()
const FILES = 200

for (const release of ['forky', 'trixie'] as const satisfies readonly DebianRelease[]) {
  const skip = LONG ? !(servers && (await liveOrthanc(release))) : 'only in npm run test:long: it takes minutes'
  describe(`moves in a cluster of Orthancs of ${release}`, { skip, concurrency: 1 }, () => {
    let postgresql: PostgreSql
    let cluster: Cluster
    let disk: string
    let a: OrthancProcess
    let b: OrthancProcess
    let study: string
    /** The hash of each file, by the id of its instance. */
    let files: Map<string, string>

    before(async () => {
      postgresql = await startPostgresql()
    })
    after(() => postgresql?.stop())

    beforeEach(async () => {
      const folder = (name: string) => join(cluster.folder, name)
      const place = await s3Place({ VirtualAddressing: false }, server)
      const section = { HybridMode: 'WriteToFileSystem' }
      const more = { CloudStorage: { MoveConcurrency: 2 } }
      cluster = new Cluster(place, { postgresql, release, section, more }, 'disk')
      disk = folder('disk')
      mkdirSync(disk)
      ;[a, b] = await Promise.all([cluster.start('a'), cluster.start('b')])
      files = new Map()
      for (let seed = 1; seed <= FILES; seed++) {
        const file = makeImage({ seed, rows: 128, columns: 128 })
        const { ID, ParentStudy } = await (seed % 2 ? a : b).postJson('/instances', file)
        files.set(ID, sha256(file))
        study = ParentStudy
      }
    })
    afterEach(() => cluster?.dispose())

    const onDisk = () =>
      readdirSync(disk, { recursive: true, encoding: 'utf8' })
        .filter(path => /^..\/..\/./.test(path))
        .map(path => path.slice(6))
    const inBucket = async () => (await cluster.place.keys()).map(key => key.slice(0, 36))
    const move = async (on: OrthancProcess, TargetStorage: string): Promise<string> => {
      const body = { Resources: [study], TargetStorage, Asynchronous: true }
      return (await on.postJson('/move-storage', Buffer.from(JSON.stringify(body)))).ID
    }
    const begun = (on: OrthancProcess, id: string, count = 10) =>
      until('some files to be moved', async () => (await on.getJson(`/jobs/${id}`)).Content.Moved.Files >= count)
    const waiting = (on: OrthancProcess, id: string) =>
      until('the job to wait', async () => (await on.getJson(`/jobs/${id}`)).Content.WaitsFor)
    const allReadable = async (on: OrthancProcess) => {
      for (const [id, hash] of files) assert.equal(sha256(await on.getBytes(`/instances/${id}/file`)), hash)
    }
    const noLease = () => until('the lease to be gone', () => !existsSync(join(disk, '.orthanc-cloud-storage-moves')))

    it('wait for each other, in opposite directions, and leave each file in one place', async () => {
      const away = await move(a, 'object-storage')
      await begun(a, away)
      const back = await move(b, 'file-system')
      const { Host, Process } = await waiting(b, back)
      assert.deepEqual([typeof Host, Process], ['string', a.enginePid()])
      assert.equal((await b.getJson(`/jobs/${back}`)).State, 'Running')
      await allReadable(b)
      const first = await a.job(away)
      assert.deepEqual([first.State, first.Content.Moved.Files], ['Success', FILES])
      const second = await b.job(back)
      assert.deepEqual([second.State, second.Content.Moved.Files, second.Content.Failed], ['Success', FILES, 0])
      assert.deepEqual([onDisk().length, await inBucket()], [FILES, []])
      await allReadable(a)
      await noLease()
    })

    it('leave no copy of what the other Orthanc deletes meanwhile', async () => {
      const away = await move(a, 'object-storage')
      await begun(a, away, 2)
      const doomed = [...files.keys()]
      for (let i = 0; i < doomed.length; i += 2) await b.delete(`/instances/${doomed[i]}`)
      const { State, Content } = await a.job(away)
      assert.deepEqual([State, Content.Failed], ['Success', 0], JSON.stringify(Content))
      assert.equal(onDisk().length, 0)
      assert.equal((await inBucket()).length, FILES / 2)
    })

    it('go on at once when the other Orthanc is killed, and its job when it is back', async () => {
      const away = await move(a, 'object-storage')
      await begun(a, away)
      await cluster.kill(a)
      const back = await move(b, 'file-system')
      const { State, Content } = await b.job(back)
      assert.deepEqual([State, Content.Failed], ['Success', 0], JSON.stringify(Content))
      assert.deepEqual([onDisk().length, await inBucket()], [FILES, []])
      await allReadable(b)
      await noLease()
    })

    it('go on when the other Orthanc is stopped for long, and so does that one when it comes back', async () => {
      const away = await move(a, 'object-storage')
      await begun(a, away)
      // With its Orthanc, which would else end an engine that does not answer.
      const stopped = [a.pid, a.enginePid() as number]
      for (const pid of stopped) process.kill(pid, 'SIGSTOP')
      try {
        const back = await move(b, 'file-system')
        await waiting(b, back)
        // What the other engine may have been removing at that moment stays in both places.
        const { State, Content } = await b.job(back)
        assert.ok(State === 'Success' || Content.Failed <= 2, JSON.stringify(Content))
        await b.logged(/was silent in its turn to move files: it has lost its turn/)
        await allReadable(b)
      } finally {
        for (const pid of stopped.toReversed()) process.kill(pid, 'SIGCONT')
      }
      const { State, Content } = await a.job(away)
      assert.deepEqual([State, Content.Failed], ['Success', 0], JSON.stringify(Content))
      // What the first job had moved before, the second has moved back.
      const places = [...onDisk(), ...(await inBucket())]
      assert.deepEqual([places.length, new Set(places).size], [FILES, FILES])
      await allReadable(a)
      await noLease()
    })
  })
}
