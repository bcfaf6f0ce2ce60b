import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { Alone } from '../src/bulk/alone.ts'
import { Crew } from '../src/bulk/crew.ts'
import { prefixesOf, shardOf } from '../src/bulk/shards.ts'
import { State } from '../src/bulk/state.ts'
import { add, type BulkWork, SHARDS, type Shard, type ShardTally } from '../src/bulk/work.ts'
import { Fault, isCode } from '../src/fault.ts'

const folder = mkdtempSync(join(tmpdir(), 'bulk-'))
after(() => rmSync(folder, { recursive: true }))
let files = 0
const newPath = () => join(folder, String(files++))
const never = new AbortController().signal

interface Counted extends ShardTally {
  readonly done: number
}

function workOf(shard: (shard: Shard, signal: AbortSignal) => Promise<Counted>): BulkWork<Counted> {
  return { name: 'count', identity: { store: 's3:a' }, underWay: {}, shard }
}

async function run(path: string, work: BulkWork<Counted>, signal = never) {
  const state = new State(path, { command: work.name, ...work.identity })
  const failures: Fault[] = []
  const alone = new Alone({ work, state, onFailure: fault => failures.push(fault) })
  try {
    const error = await alone.run(signal).catch(fault => fault as Fault)
    const { tally, complete, lines } = alone.outcome
    return { error: error ?? undefined, tally, complete, lines: [...lines()], failures }
  } finally {
    state.close()
  }
}

describe('bulk work on one machine', () => {
  it('does every shard once, adds what they count, and keeps their lines in order', async () => {
    const seen: number[] = []
    const work = workOf(async ({ number, line }) => {
      seen.push(number)
      if (number % 100 === 0) line({ kind: 'found', key: String(number) })
      return { done: number, failures: 0 }
    })
    const { tally, complete, lines } = await run(newPath(), work)
    assert.equal(new Set(seen).size, SHARDS)
    assert.equal(seen.length, SHARDS)
    assert.deepEqual(tally, { done: (255 * 256) / 2, failures: 0 })
    assert.ok(complete)
    assert.deepEqual(
      lines.map(({ key }) => key),
      ['0', '100', '200'],
    )
  })

  it('goes on after an end in the middle: what is done is not done again, and a shard goes on where it was', async () => {
    const path = newPath()
    const first = await run(
      path,
      workOf(async ({ number, line, remember }) => {
        if (number !== 7) return { done: 1, failures: 0 }
        line({ kind: 'found', key: 'kept' })
        remember(['so far'])
        line({ kind: 'found', key: 'lost' })
        throw new Fault('Unavailable', 'the store is away')
      }),
    )
    assert.ok(isCode(first.error, 'Unavailable'))
    assert.ok(!first.complete)
    const again: (readonly [number, unknown])[] = []
    const second = await run(
      path,
      workOf(async ({ number, remembered, line }) => {
        again.push([number, remembered])
        if (number === 7) line({ kind: 'found', key: 'new' })
        return { done: 1, failures: 0 }
      }),
    )
    assert.ok(again.length < SHARDS)
    assert.deepEqual(
      again.find(([number]) => number === 7),
      [7, ['so far']],
    )
    assert.ok(again.every(([number, remembered]) => number === 7 || remembered === undefined))
    assert.deepEqual([second.complete, second.tally['done']], [true, SHARDS])
    assert.deepEqual(
      second.lines.map(({ key }) => key),
      ['kept', 'new'],
    )
  })

  it('gives a shard with failures again what was remembered of it, to work that asks for that', async () => {
    for (const keepsRemembered of [true, false]) {
      const path = newPath()
      const seen: unknown[] = []
      const work = workOf(async ({ number, remembered, remember }) => {
        if (number !== 9) return { done: 1, failures: 0 }
        seen.push(remembered)
        remember('this failed')
        return { done: 1, failures: seen.length < 2 ? 1 : 0 }
      })
      for (const complete of [false, true])
        assert.equal((await run(path, { ...work, keepsRemembered })).complete, complete)
      assert.deepEqual(seen, [undefined, keepsRemembered ? 'this failed' : undefined])
    }
  })

  it('does a shard with failures again in the next run, and only that one', async () => {
    const path = newPath()
    const first = await run(
      path,
      workOf(async ({ number, failed, line }) => {
        if (number !== 9) return { done: 1, failures: 0 }
        line({ kind: 'found', key: 'old' })
        failed(new Fault('Corrupt', 'one file'))
        return { done: 3, failures: 1 }
      }),
    )
    assert.deepEqual([first.complete, first.tally, first.failures.length], [false, { done: 258, failures: 1 }, 1])
    const second = await run(
      path,
      workOf(async ({ number, line }) => {
        assert.equal(number, 9)
        line({ kind: 'found', key: 'new' })
        return { done: 4, failures: 0 }
      }),
    )
    assert.deepEqual([second.complete, second.tally], [true, { done: 259, failures: 0 }])
    assert.deepEqual(
      second.lines.map(({ key }) => key),
      ['new'],
    )
  })

  it('ends when it is interrupted, and when one shard fails, after all that was under way', async () => {
    for (const how of ['interrupted', 'failed'] as const) {
      const stop = new AbortController()
      let running = 0
      const work = workOf(async ({ number }, signal) => {
        running++
        if (number === 3 && how === 'failed') queueMicrotask(() => running--)
        if (number === 3 && how === 'failed') throw new Fault('BadConfig', 'no')
        if (number === 3) stop.abort(new Fault('Canceled', 'interrupted by SIGINT'))
        await new Promise<void>(resolve => {
          if (signal.aborted) resolve()
          else signal.addEventListener('abort', () => resolve())
        })
        running--
        throw Fault.ofAbort(signal)
      })
      const { error } = await run(newPath(), work, stop.signal)
      assert.equal(running, 0)
      assert.ok(isCode(error, how === 'failed' ? 'BadConfig' : 'Canceled'))
    }
  })
})

describe('the state file', () => {
  it('is of one work, of one run, and ours', () => {
    const path = newPath()
    const state = new State(path, { command: 'copy', from: 's3:a' })
    assert.throws(
      () => new State(path, { command: 'copy', from: 's3:a' }),
      (error: unknown) => isCode(error, 'Unavailable') && /in use by another run/.test(error.message),
    )
    state.close()
    assert.throws(
      () => new State(path, { command: 'copy', from: 's3:b' }),
      (error: unknown) => isCode(error, 'BadRequest') && /other work/.test(error.message),
    )
    new State(path, { command: 'copy', from: 's3:a' }).close()
    const strange = newPath()
    writeFileSync(strange, 'something that people need '.repeat(1000))
    assert.throws(
      () => new State(strange, {}),
      (error: unknown) => isCode(error, 'BadRequest') && /is something else/.test(error.message),
    )
    assert.throws(
      () => new State(join(folder, 'absent', 'state'), {}),
      (error: unknown) => isCode(error, 'BadRequest') && /--state/.test(String(error.remedy)),
    )
  })
})

describe('shards', () => {
  it('are the first two digits, in small letters and in capitals', () => {
    const flat = { rootPath: 'a/b', structure: 'flat', legacyUnknownFiles: false } as const
    assert.deepEqual(prefixesOf(flat, 0x00), ['a/b/00'])
    assert.deepEqual(prefixesOf({ ...flat, rootPath: '' }, 0xa1), ['a1', 'A1'])
    assert.deepEqual(prefixesOf({ ...flat, rootPath: '' }, 0xff), ['ff', 'fF', 'Ff', 'FF'])
    assert.deepEqual(['00', 'a1', 'Ff'].map(shardOf), [0, 0xa1, 0xff])
  })

  it('count name by name', () => {
    assert.deepEqual(add({ a: 1, b: { c: 2 } }, { a: 2, b: { d: 3 }, e: { f: 1 } }), {
      a: 3,
      b: { c: 2, d: 3 },
      e: { f: 1 },
    })
  })
})

describe('a crew', () => {
  it('ends only the group that was canceled', async () => {
    const crew = new Crew(2, () => {})
    const [lost, kept] = [crew.group(() => {}), crew.group(() => {})]
    await lost.add(() => Promise.reject(new Fault('Canceled', 'another process has the shard')))
    await assert.rejects(lost.end(), { code: 'Canceled' })
    await assert.rejects(
      lost.add(async () => assert.fail('it is lost')),
      { code: 'Canceled' },
    )
    let done = 0
    for (let i = 0; i < 5; i++) await kept.add(async () => void done++)
    await kept.end()
    assert.equal(done, 5)
  })

  it('has groups that end by themselves, and shares its places between them', async () => {
    const crew = new Crew(2, () => {})
    let release = () => {}
    const held = new Promise<void>(resolve => (release = resolve))
    const failures: string[] = []
    const one = crew.group(fault => failures.push(`one ${fault.code}`))
    const other = crew.group(fault => failures.push(`other ${fault.code}`))
    await one.add(() => held)
    let running = 0
    let most = 0
    for (let i = 0; i < 5; i++)
      await other.add(async () => {
        most = Math.max(most, ++running)
        await null
        running--
        if (i === 4) throw new Fault('Corrupt', 'one file')
      })
    await other.end()
    assert.equal(most, 1)
    assert.deepEqual(failures, ['other Corrupt'])
    release()
    await one.end()
    await crew.end()
  })
})
