/** Several Orthancs over one PostgreSQL and one bucket: a load on all of them, restarts, a death. */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import type { OrthancProcess } from '../../harness/orthanc.ts'
import { type PostgreSql, startPostgresql } from '../../harness/postgresql.ts'
import type { DebianRelease } from '../../harness/trees.ts'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import { sha256 } from '../support/sha256.ts'
import { balanced, Cluster, uuidsIn } from './support/cluster.ts'
import { Load } from './support/load.ts'
import { s3Place } from './support/places.ts'
import { liveOrthanc, livePostgresql, liveServer } from './support/servers.ts'

const server = LONG ? liveServer('minio') : undefined
const servers = server !== undefined && livePostgresql()

for (const release of ['forky', 'trixie'] as const satisfies readonly DebianRelease[]) {
  const skip = LONG ? !(servers && (await liveOrthanc(release))) : 'only in npm run test:long: it takes minutes'
  describe(`a cluster of Orthancs of ${release}`, { skip, concurrency: 1 }, () => {
    let postgresql: PostgreSql
    let cluster: Cluster

    before(async () => {
      postgresql = await startPostgresql()
    })
    after(() => postgresql?.stop())
    afterEach(() => cluster?.dispose())

    const both = async (index = {}) => {
      const place = await s3Place({ VirtualAddressing: false }, server)
      cluster = new Cluster(place, { postgresql, release, index })
      return await Promise.all([cluster.start('a'), cluster.start('b')])
    }
    const uuidOf = (key: string) => key.slice(0, 36)

    it('keeps what was acknowledged, through restarts and the death of a node, and nothing on its disks', async () => {
      let nodes = await both()
      const load = new Load(
        balanced(() => nodes),
        { workers: 8, rows: [64, 332] },
      ).start()
      await load.more(60)
      for (const name of ['a', 'b']) {
        const [leaving, staying] = name === 'a' ? nodes : [nodes[1], nodes[0]]
        nodes = [staying, staying]
        await cluster.stop(leaving)
        await load.more(20)
        const back = await cluster.start(name)
        nodes = name === 'a' ? [back, staying] : [staying, back]
        await load.more(20)
      }
      const [dying, living] = nodes
      await cluster.kill(dying)
      await load.moreFailed()
      nodes = [living, living]
      await load.more(40)
      const fresh = await cluster.start('fresh')
      nodes = [living, fresh]
      await load.more(40)
      await load.stop()
      for (const node of nodes) {
        load.orthanc = node
        await load.verify()
      }
      const known = await uuidsIn(fresh)
      const stored = (await cluster.place.keys()).map(uuidOf)
      assert.deepEqual(
        [...known].filter(uuid => !stored.includes(uuid)),
        [],
        'in the index, but not in the bucket',
      )
      // Orthanc itself forgets what was under way when it was killed.
      const forgotten = stored.filter(uuid => !known.has(uuid))
      assert.ok(forgotten.length <= load.count('perhaps') + 8, `${forgotten.length} objects that nobody knows`)
      await cluster.stop(living)
      await cluster.stop(fresh)
      for (const name of ['b', 'fresh'])
        assert.deepEqual(cluster.filesOf(name).toSorted(), ['orthanc.json', 'orthanc.log'])
    })

    it('writes one patient through both at once: Orthanc asks to repeat, and all is there once', async () => {
      // By default, Orthanc tries ten times before it asks its client to.
      const nodes = await both({ MaximumConnectionRetries: 1 })
      const files = new Map<string, string>()
      let refusals = 0
      let seed = 0
      const upload = async (node: OrthancProcess) => {
        const number = ++seed
        const file = makeImage({ seed: number, study: number % 3, series: number % 5, rows: 64, columns: 64 })
        await until('the file to be accepted', async () => {
          const { status, body } = await node.request('POST', '/instances', file)
          if (status === 503) refusals++
          if (status === 503) return false
          assert.equal(status, 200, body.toString())
          files.set(JSON.parse(body.toString()).ID, sha256(file))
          return true
        })
      }
      await until('a 503', async () => {
        await Promise.all(Array.from({ length: 20 }, (_, i) => upload(nodes[i % 2] as OrthancProcess)))
        return refusals > 0
      })
      for (const node of nodes)
        for (const [id, hash] of files) assert.equal(sha256(await node.getBytes(`/instances/${id}/file`)), hash)
      assert.equal(files.size, seed)
      const known = await uuidsIn(nodes[0])
      assert.deepEqual((await cluster.place.keys()).map(uuidOf).toSorted(), [...known].toSorted())
      for (const node of nodes) assert.doesNotMatch(node.log(), /^[EW].*\[(?:Unavailable|Internal|Timeout|NotFound)\]/m)
    })
  })
}
