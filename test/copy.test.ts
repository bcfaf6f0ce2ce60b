/** What a copy makes of every kind of object, on two stores in memory. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { planOf, refuseDecryption } from '../src/copy/plan.ts'
import { isSealing, keyPrefix } from '../src/copy/side.ts'
import { isCode } from '../src/fault.ts'
import { a1 } from '../src/seal/a1.ts'
import { keyring } from '../src/seal/keyring.ts'
import {
  changed,
  copy,
  keyNumber,
  keysIn,
  makeSide,
  never,
  read,
  type SideOptions,
  write,
} from './support/copy-stage.ts'
import { LONG } from './support/long.ts'
import { memoryStore } from './support/memory-store.ts'
import { noise } from './support/noise.ts'

const TYPES = ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown'] as const
const LARGE = 9 * 1024 * 1024
const largeBytes = noise(LARGE, 1)

const structures = [
  ['flat', 'flat'],
  ['flat', 'legacy'],
  ['legacy', 'flat'],
  ['legacy', 'legacy'],
] as const
const kinds: Readonly<Record<string, SideOptions>> = {
  plain: {},
  'key 1': { encryption: 'on' },
  'key 2': { encryption: 'on', key: 2 },
  'key 2, key 1 before': { encryption: 'on', key: 2, previous: [1] },
  'key 1 and plain': { encryption: 'on, and plain objects are read' },
  'plain, key 1 before': { encryption: 'ended' },
}

// `npm test` has each kind and each structure on each side. LONG=1 has everything.
describe('a copy', () => {
  for (const [i, [fromName, fromKind]] of Object.entries(kinds).entries())
    for (const [j, [toName, toKind]] of Object.entries(kinds).entries())
      for (const [k, [one, other]] of structures.entries())
        if (LONG || (i + j) % 4 === k)
          it(`from ${one}, ${fromName} to ${other}, ${toName}: Orthanc reads the same there, and again copies nothing`, async () => {
            const from = makeSide({ ...fromKind, structure: one, rootPath: '' })
            const to = makeSide({ ...toKind, structure: other, rootPath: 'a/b' })
            const mixed = from.envelopes.length > 1
            const large = one === other || toName === 'plain' ? [largeBytes] : []
            const files = []
            for (const type of TYPES)
              for (const bytes of [Buffer.alloc(0), noise(500, 3), ...(type === 'dicom' ? large : [])])
                for (const sealed of mixed ? [true, false] : [isSealing(from.envelopes[0])])
                  files.push(await write(from, { type, bytes, sealed }))
            await from.store.put('notes.txt', sourceOf(Buffer.from('mine')), never)
            const { tally, complete, failures, error } = await copy(from, to, { files })
            assert.deepEqual([failures, error], [[], undefined])
            assert.ok(complete)
            assert.deepEqual(
              [
                tally.source.objects,
                tally.target.objects,
                tally.copied.objects,
                tally.missing,
                tally.extra,
                tally.otherNames,
              ],
              [files.length, files.length, files.length, 0, 0, 0],
            )
            for (const file of files) assert.ok((await read(to, file)).equals(file.bytes))
            assert.ok((await keysIn(to)).every(key => key.startsWith('a/b/')))

            const again = await copy(from, to, { files, deep: true })
            assert.deepEqual(
              [again.tally.copied.objects, again.tally.equal.bytes, again.failures],
              [0, files.length, []],
            )
          })

  it('leaves bytes as they are where both sides seal alike, and seals anew where the key is another one', async () => {
    const asStored = (one: SideOptions, other: SideOptions) => planOf(makeSide(one), makeSide(other)).asStored
    assert.ok(asStored({}, {}))
    assert.ok(asStored({ encryption: 'on' }, { encryption: 'on' }))
    assert.ok(asStored({ encryption: 'on' }, { encryption: 'on', previous: [3] }))
    assert.ok(asStored({ encryption: 'ended' }, { encryption: 'ended' }))
    assert.ok(!asStored({ encryption: 'on', previous: [3] }, { encryption: 'on' }))
    assert.ok(!asStored({ encryption: 'on' }, { encryption: 'on', key: 2, previous: [1] }))
    assert.ok(!asStored({ encryption: 'on' }, { encryption: 'ended' }))
    assert.ok(!asStored({ structure: 'legacy' }, {}))
    const [from, to] = [makeSide({ encryption: 'on' }), makeSide({ encryption: 'on' })]
    const sameNumber = { ...to, keys: keyring(keyNumber(1, 9), []) }
    assert.ok(!planOf(from, sameNumber).asStored, 'one number, two secrets')
  })

  it('makes nothing plain by accident', () => {
    const refuses = (one: SideOptions, other: SideOptions) => {
      const [from, to] = [makeSide(one), makeSide(other)]
      try {
        refuseDecryption(planOf(from, to), from, to)
        return false
      } catch (error) {
        return isCode(error, 'BadRequest') && /--decrypt/.test(error.remedy)
      }
    }
    assert.ok(refuses({ encryption: 'on' }, {}))
    assert.ok(refuses({ encryption: 'on' }, { encryption: 'ended' }))
    assert.ok(refuses({ encryption: 'ended' }, {}))
    assert.ok(refuses({ encryption: 'ended', structure: 'legacy' }, { encryption: 'ended' }))
    assert.ok(!refuses({ encryption: 'ended' }, { encryption: 'ended' }))
    assert.ok(!refuses({}, { encryption: 'ended' }))
    assert.ok(!refuses({}, { encryption: 'on' }))
  })

  it('never copies what is damaged, names it, and copies the others', async () => {
    for (const structure of ['flat', 'legacy'] as const)
      for (const kind of [{ encryption: 'on' }, { encryption: 'on', key: 2 }, {}] as const)
        for (const size of [100, LARGE]) {
          const [from, to] = [makeSide({ encryption: 'on', structure }), makeSide({ ...kind, structure })]
          const [good, bad] = [await write(from), await write(from, { bytes: noise(size, 1) })]
          const key = bad.key
          const stored = a1(keyring(keyNumber(1), [])).seal(sourceOf(noise(size, 2)))
          const parts: Uint8Array[] = []
          for await (const chunk of stored.open()) parts.push(chunk)
          const bytes = Buffer.concat(parts)
          bytes[90] = (bytes[90] ?? 0) ^ 1
          await from.store.put(key, sourceOf(bytes), never)
          const { failures, tally, complete } = await copy(from, to)
          assert.deepEqual(
            failures.map(({ code, where }) => [code, where.key, where.store]),
            [['Corrupt', key, from.store.name]],
          )
          assert.deepEqual([tally.copied.objects, tally.failures, complete], [1, 1, false])
          assert.ok((await read(to, good)).equals(good.bytes))
          assert.equal((await keysIn(to)).length, 1)
        }
  })

  it('names what is under a key that it does not have, what Orthanc does not read, and what has no type', async () => {
    const strange = makeSide({ encryption: 'on', key: 7 })
    for (const structure of ['flat', 'legacy'] as const) {
      const from = makeSide({ encryption: 'on, and plain objects are read', structure })
      const other = await write({ ...strange, store: from.store, naming: from.naming })
      for (const to of [makeSide({ encryption: 'on', structure }), makeSide({ encryption: 'on', key: 2, structure })]) {
        const { failures } = await copy(from, to)
        assert.equal(failures.length, 1)
        assert.match(failures[0]?.describe() ?? '', new RegExp(`${other.uuid}.*master key 7, which is not configured`))
        assert.deepEqual(await keysIn(to), [])
      }
    }
    const from = makeSide({ encryption: 'on' })
    const plain = await write({ ...makeSide(), store: from.store })
    const { failures } = await copy(from, makeSide({ encryption: 'on', key: 2 }))
    assert.match(failures[0]?.describe() ?? '', new RegExp(`${plain.uuid}.dcm'.*AllowUnencryptedRead`))

    const legacy = makeSide({ structure: 'legacy' })
    const [known] = [await write(legacy), await write(legacy)]
    const untyped = await copy(legacy, makeSide(), { files: [known] })
    assert.deepEqual([untyped.tally.copied.objects, untyped.failures.map(({ code }) => code)], [1, ['NotFound']])
  })

  it('never overwrites what the target has, whatever it is', async () => {
    for (const [bytes, deep] of [
      [Buffer.from('another length'), false],
      [noise(20, 9), true],
    ] as const) {
      const [from, to] = [makeSide(), makeSide()]
      const file = await write(from, { bytes: noise(20, 1) })
      await to.store.put(file.key, sourceOf(bytes), never)
      const { failures, tally } = await copy(from, to, { deep })
      assert.match(failures[0]?.describe() ?? '', /has another object under this name/)
      assert.deepEqual([tally.copied.objects, tally.failures], [0, 1])
      assert.ok((await read(to, file)).equals(bytes))
    }
  })

  it('says when two objects would get one name, and copies the one that Orthanc reads of two of one file', async () => {
    const [from, legacy] = [makeSide(), makeSide({ structure: 'legacy' })]
    const one = await write(from)
    await write(from, { uuid: one.uuid, type: 'unknown' })
    const { failures, tally } = await copy(from, legacy)
    assert.deepEqual([failures.length, tally.copied.objects], [2, 0])
    assert.match(failures[0]?.describe() ?? '', /same UUID and another type/)

    const mixed = makeSide({ encryption: 'on, and plain objects are read' })
    const file = await write(mixed, { bytes: Buffer.from('sealed') })
    await write(mixed, { uuid: file.uuid, sealed: false, bytes: Buffer.from('plain') })
    const to = makeSide({ encryption: 'on', key: 2 })
    const second = await copy(mixed, to)
    assert.deepEqual([second.failures, second.tally.doubles, second.tally.copied.objects], [[], 1, 1])
    assert.equal((await read(to, file)).toString(), 'sealed')
  })

  it('counts what the source removed meanwhile, and what it stored meanwhile is copied', async () => {
    const inner = memoryStore('source')
    const from = makeSide({ store: inner })
    const [gone, stays] = [await write(from), await write(from)]
    let stored = false
    const moving = changed(inner, store => ({
      async get(key, range, signal) {
        if (key === gone.key) await store.remove(key, signal)
        if (key === stays.key && !stored) {
          stored = true
          await write(from, { uuid: `${stays.uuid.slice(0, 2)}${randomUUID().slice(2)}` })
        }
        return await store.get(key, range, signal)
      },
    }))
    const to = makeSide()
    const { tally, failures, complete } = await copy({ ...from, store: moving }, to)
    assert.deepEqual([failures, complete, tally.vanished, tally.missing, tally.copied.objects], [[], true, 1, 0, 2])
    assert.deepEqual(await keysIn(to), await keysIn(from))
  })

  it('takes no order of a listing for granted, and splits what is too much for the memory', async () => {
    for (const structure of ['flat', 'legacy'] as const) {
      const shuffled = changed(memoryStore('source'), store => ({
        async *list(prefix, signal) {
          const all = []
          for await (const stat of store.list(prefix, signal)) all.push(stat)
          yield* all.reverse()
        },
      }))
      const [from, to] = [makeSide({ structure, store: shuffled }), makeSide()]
      const files = []
      for (let i = 0; i < 60; i++)
        files.push(await write(from, { uuid: `${['ab', 'aB'][i % 2]}${i % 10}${randomUUID().slice(3)}` }))
      const { tally, failures } = await copy(from, to, { files, mostListed: 3 })
      assert.deepEqual([failures, tally.copied.objects, tally.source.objects, tally.target.objects], [[], 60, 60, 60])
      for (const file of files) assert.ok((await read(to, file)).equals(file.bytes))
    }
    const legacy = { rootPath: 'r', structure: 'legacy', legacyUnknownFiles: false } as const
    assert.deepEqual(
      ['a', 'ab', 'abc', 'abcd', 'abcde'].map(digits => keyPrefix(legacy, digits)),
      ['r/a', 'r/ab/', 'r/ab/c', 'r/ab/cd/', 'r/ab/cd/abcde'],
    )
  })
})
