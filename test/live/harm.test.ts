/** Real servers behind a network that does harm: files are right, answers are true, and no other objects are left. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { until } from '../../harness/until.ts'
import type { Attachment } from '../../src/area/area.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import { type Composition, compose } from '../../src/compose.ts'
import { parseConfig } from '../../src/config/config.ts'
import { logTo } from '../../src/log.ts'
import { sha256 } from '../support/sha256.ts'
import { never, noise } from '../support/store.suite.ts'
import { FaultProxy } from './support/fault-proxy.ts'
import type { Place } from './support/places.ts'
import { ways } from './support/ways.ts'

const MB = 1024 * 1024
const READS = 60
/** At this byte, the body of a write to Google has a letter of the file's name. */
const NAME_AT = 100
type Section = Record<string, unknown>

for (const [name, way] of Object.entries(ways()))
  describe(`${name} behind a network that does harm`, () => {
    let place: Place
    let proxy: FaultProxy
    let folder: string
    const open: Composition[] = []

    /** What the engine consists of, with its store behind the proxy. */
    function engine(more: Section = {}): Composition {
      const [[section, options] = ['', {}]] = Object.entries(place.config)
      const { config } = parseConfig(JSON.stringify({ [section]: { ...way.through(options, origin), ...more } }))
      assert.ok(config)
      const composition = compose(
        config,
        logTo(() => {}),
      )
      open.push(composition)
      return composition
    }
    let origin = ''
    const sealed = () => ({ StorageEncryption: { MasterKey: [1, join(folder, 'key')] } })
    const file = (): Attachment => ({ uuid: randomUUID(), type: 'dicom' })
    const read = (on: Composition, of: Attachment) => on.area.deliver(of, undefined, collect, never)

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-harm-'))
      writeFileSync(join(folder, 'key'), Buffer.alloc(32, 5).toString('base64'), { mode: 0o600 })
      place = await way.make()
      await place.store.check(never)
      proxy = new FaultProxy(way.origin)
      origin = await proxy.open()
    })
    after(async () => {
      for (const { store } of open) await store.close()
      await proxy?.close()
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    for (const [what, more] of [
      ['plain', () => ({})],
      ['encrypted', sealed],
    ] as const)
      it(`${what} reads are right though a byte of every third is flipped`, async () => {
        const on = engine(more())
        const files = [1, 1000, 220_000, 3 * MB].map(size => ({ of: file(), bytes: noise(size, size) }))
        for (const { of, bytes } of files) await on.area.create(of, sourceOf(bytes), never)
        let gets = 0
        proxy.decide = ({ method }) =>
          method === 'GET' && ++gets % 3 === 0
            ? { response: ({ length }) => ({ flipAt: Math.floor(length * 0.7) }) }
            : undefined
        for (let i = 0; i < READS; i++) {
          const { of, bytes } = files[i % files.length] as (typeof files)[number]
          assert.equal(sha256(await read(on, of)), sha256(bytes))
        }
        assert.ok(gets > READS, 'some were read again')
        proxy.decide = () => undefined
        for (const { of } of files) await on.area.remove(of, never)
      })

    for (const [what, size, more] of [
      ['a small write', 1000, {}],
      ['a large one', way.large, way.inParts],
    ] as const)
      it(`${what} whose answer is lost is a success, and nothing else is left behind`, async () => {
        const on = engine(more)
        const of = file()
        let left = 1
        const writes = ({ method, path }: { method: string; path: string }) =>
          size === 1000 ? method === 'PUT' || method === 'POST' : way.isLast(method, path)
        proxy.decide = exchange => (writes(exchange) && left-- > 0 ? { response: { resetAt: 'start' } } : undefined)
        const before = proxy.exchanges.length
        await on.area.create(of, sourceOf(noise(size)), never)
        proxy.decide = () => undefined
        assert.equal(sha256(await read(on, of)), sha256(noise(size)))
        assert.equal(proxy.exchanges.slice(before).filter(writes).length, 1, 'it was not repeated')
        assert.equal((await place.keys()).length, 1)
        await on.area.remove(of, never)
        assert.deepEqual(await place.keys(), [])
      })

    if (way.provider === 'gcs')
      it('a bit that changes in the name of a file that is written does not store it under another name', async () => {
        const on = engine()
        const of = file()
        proxy.decide = ({ method }) => (method === 'POST' ? { request: { flipAt: NAME_AT } } : undefined)
        const before = proxy.exchanges.length
        await on.area.create(of, sourceOf(noise(1000)), never)
        assert.ok(proxy.exchanges.slice(before).some(({ harmed }) => harmed === 'flipped'))
        proxy.decide = () => undefined
        assert.equal(sha256(await read(on, of)), sha256(noise(1000)))
        await on.area.remove(of, never)
        assert.deepEqual(await place.keys(), [])
      })

    it('an answer that comes twice, while nothing else waits for the connection, is not the answer to the next request', async () => {
      const on = engine()
      const [one, other] = [file(), file()]
      await on.area.create(one, sourceOf(noise(1000, 1)), never)
      await on.area.create(other, sourceOf(noise(1000, 2)), never)
      for (let times = 0; times < 3; times++) {
        proxy.decide = ({ method }) => (method === 'GET' ? { response: { twice: 'at once' } } : undefined)
        assert.equal(sha256(await read(on, one)), sha256(noise(1000, 1)))
        proxy.decide = () => undefined
        const before = proxy.connections
        await until('the connection with the second answer to be given up', () => proxy.connections < before)
        assert.equal(sha256(await read(on, other)), sha256(noise(1000, 2)))
      }
      for (const each of [one, other]) await on.area.remove(each, never)
    })

    it('an ingress that answers 404 for a while proves no absence, and no removal', async () => {
      const on = engine({ MaxRetries: 1 })
      const of = file()
      await on.area.create(of, sourceOf(noise(1000)), never)
      proxy.decide = () => ({
        answer: { status: 404, headers: { 'content-type': 'text/plain' }, body: '404 page not found\n' },
      })
      for (const call of [
        () => read(on, of),
        () => on.area.remove(of, never),
        () => on.tiers['object-storage']?.find(of, never),
      ])
        await assert.rejects(async () => call(), { code: 'Unavailable' })
      proxy.decide = () => undefined
      assert.equal(sha256(await read(on, of)), sha256(noise(1000)))
      await on.area.remove(of, never)
      await assert.rejects(read(on, of), { code: 'NotFound' })
      await on.area.remove(of, never)
    })
  })
