/** What `verify` is built of: the scratch file, and the clock of a store. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { isCode } from '../src/fault.ts'
import type { Stat } from '../src/stores/store.ts'
import { Scratch } from '../src/verify/scratch.ts'
import { StoreClock } from '../src/verify/store-clock.ts'
import { DAY_MS, makeSite, md5Of } from './support/verify-stage.ts'

describe('the scratch file', () => {
  const folderOf = () => mkdtempSync(join(tmpdir(), 'ocs-scratch-'))
  const file = () => ({ uuid: randomUUID(), type: 'dicom', size: 1, md5: undefined }) as const

  it('has no name while it is used, and nothing is left of it', () => {
    const folder = folderOf()
    const scratch = new Scratch(folder)
    scratch.addIndexed(file())
    assert.deepEqual(readdirSync(folder), [])
    scratch.close()
    rmSync(folder, { recursive: true })
  })

  it('gives back what it was given, UUIDs of all kinds included', () => {
    const scratch = new Scratch(tmpdir())
    const usual = {
      ...file(),
      uuid: '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d',
      size: 2 ** 40,
      md5: md5Of(Buffer.from('x')),
    }
    const capitals = { ...usual, uuid: usual.uuid.toUpperCase(), type: 'unknown', md5: undefined } as const
    scratch.addIndexed(usual)
    scratch.addIndexed(capitals)
    const seen = { place: 1, name: 8, size: 3, modified: Number.NaN, md5: undefined }
    scratch.addSeen(usual.uuid, seen)
    scratch.addSeen(usual.uuid, { ...seen, place: 0, modified: 12 })
    scratch.addSeen(capitals.uuid, { ...seen, md5: usual.md5 })
    const groups = [...scratch.groups(Number.parseInt(usual.uuid.slice(0, 2), 16))]
    scratch.close()
    assert.deepEqual(groups, [
      { uuid: capitals.uuid, file: capitals, seen: [{ ...seen, md5: usual.md5 }] },
      { uuid: usual.uuid, file: usual, seen: [seen, { ...seen, place: 0, modified: 12 }] },
    ])
  })

  it('says that its disk is full', async () => {
    const site = makeSite()
    for (let i = 0; i < 200; i++) await site.add()
    const scratch = new Scratch(tmpdir(), { mostPages: 300 })
    const many = Array.from({ length: 60_000 }, file)
    site.index.all = async function* () {
      yield many
    }
    await assert.rejects(
      site.verify({ scratch }),
      error =>
        isCode(error, 'TooLarge') &&
        /has no room: the disk is full/.test(error.message) &&
        /--scratch/.test(error.remedy),
    )
    scratch.close()
  })

  it('refuses a folder that is not there', () =>
    assert.throws(
      () => new Scratch('/nowhere/at/all'),
      error => isCode(error, 'BadRequest') && /--scratch/.test(error.remedy),
    ))

  it('keeps the warning about node:sqlite from people, and no other one', () => {
    const scratch = join(import.meta.dirname, '..', 'src', 'verify', 'scratch.ts')
    const script = `import { Scratch } from ${JSON.stringify(scratch)}
      process.emitWarning('before')
      new Scratch(${JSON.stringify(tmpdir())}).close()
      process.emitWarning('after')`
    const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
    assert.equal(status, 0)
    assert.match(stderr, /before[\s\S]*after/)
    assert.doesNotMatch(stderr, /SQLite|Experimental/)
  })
})

describe('the clock of a store', () => {
  const at = (ms: number, asOf?: number): Stat => ({
    key: 'k',
    size: 1,
    modified: new Date(ms),
    ...(asOf !== undefined && { asOf: new Date(asOf) }),
  })
  const now = Date.now()

  it('is the time that the store tells, whatever this machine believes', () => {
    const clock = new StoreClock(() => now + 100 * DAY_MS)
    clock.learn(at(now - 2 * DAY_MS, now))
    assert.equal(clock.source, 'store')
    assert.ok(clock.isOlder(now - DAY_MS, DAY_MS))
    assert.ok(!clock.isOlder(now - DAY_MS + 1, DAY_MS))
  })

  it('is else that of the newest object, but not one of the future', () => {
    const clock = new StoreClock(() => now)
    assert.equal(clock.source, undefined)
    for (const modified of [now - 3 * DAY_MS, now - 2 * DAY_MS, now + 900 * DAY_MS]) clock.learn(at(modified))
    assert.equal(clock.source, 'newest object')
    assert.ok(clock.isOlder(now - 3 * DAY_MS, DAY_MS))
    assert.ok(!clock.isOlder(now - 2 * DAY_MS, DAY_MS))
  })

  it('differs from ours by what a page was late at least, but a page of the future is never late', () => {
    const clock = new StoreClock(() => now)
    clock.learn(at(now - 2 * DAY_MS, now - 20_000))
    clock.learn(at(now - 2 * DAY_MS, now - 1000))
    assert.equal(clock.skewMs, 1000)
    clock.learn(at(now - 2 * DAY_MS, now + DAY_MS)) // one of several servers is a day ahead
    assert.equal(clock.skewMs, DAY_MS)
  })

  it('never calls an object old of which no date is known', () => {
    const clock = new StoreClock()
    clock.learn(at(Number.NaN, now))
    assert.ok(!clock.isOlder(Number.NaN, 0))
  })
})
