/** The steps before and after the shards, on one machine. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { Alone } from '../src/bulk/alone.ts'
import { State } from '../src/bulk/state.ts'
import { type Line, SHARDS } from '../src/bulk/work.ts'
import { Fault } from '../src/fault.ts'
import { Stepping, type SteppingOptions } from './support/stepping.ts'

const folder = mkdtempSync(join(tmpdir(), 'bulk-steps-'))
after(() => rmSync(folder, { recursive: true }))
let files = 0
const newPath = () => join(folder, String(files++))
const away = () => {
  throw new Fault('Unavailable', 'it is away')
}

async function run(path: string, options: SteppingOptions = {}, signal = new AbortController().signal) {
  const work = new Stepping(options)
  const state = new State(path, { command: work.name })
  try {
    const alone = new Alone({ work, state, onFailure: () => {} })
    const error = await alone.run(signal).catch(fault => fault as Fault)
    const { tally, complete, lines } = alone.outcome
    const all: Line[] = [...lines()]
    return { work, error: error ?? undefined, tally, complete, lines: all, share: alone.progress.share }
  } finally {
    state.close()
  }
}

const whole = { failures: 0, before: 1, shards: SHARDS, after: 1, given: SHARDS * 2 }
const atEnd = [{ kind: 'end', lines: SHARDS, shards: SHARDS }]
const ends = (lines: readonly Line[]) => lines.filter(({ kind }) => kind === 'end')

describe('steps beside the shards', () => {
  it('are done once, one before and one after all shards, with what was given and written', async () => {
    const { tally, complete, lines, share, work } = await run(newPath())
    assert.deepEqual(tally, whole)
    assert.ok(complete)
    assert.deepEqual(ends(lines), atEnd)
    assert.equal(share, 1)
    assert.deepEqual([work.did[0], work.did.at(-1)], ['before', 'after'])
  })

  it('begin anew when they fail, and what they gave and wrote counts once', async () => {
    const path = newPath()
    const one = await run(path, { beforeGiven: away })
    assert.deepEqual([one.error?.message, one.complete, one.work.did], ['it is away', false, ['before']])
    const two = await run(path, { afterLine: away })
    assert.deepEqual([two.error?.message, two.complete], ['it is away', false])
    assert.equal(two.tally['given'], SHARDS * 2)
    const three = await run(path)
    assert.deepEqual(three.work.did, ['after'])
    assert.deepEqual(three.tally, whole)
    assert.deepEqual(ends(three.lines), atEnd)
    const four = await run(path)
    assert.deepEqual([four.work.did, four.tally, four.complete], [[], whole, true])
  })

  it('are not done again for a shard with failures, except the last one', async () => {
    const path = newPath()
    const one = await run(path, { failing: 7 })
    assert.deepEqual([one.error, one.complete, one.tally['failures'], ends(one.lines).length], [undefined, false, 1, 1])
    const two = await run(path)
    assert.deepEqual(two.work.did, ['7', 'after'])
    assert.deepEqual([two.complete, two.tally], [true, whole])
    assert.deepEqual(ends(two.lines), atEnd)
  })

  it('end with the reason of an interruption', async () => {
    const stop = new AbortController()
    const beforeGiven = () => {
      stop.abort(new Fault('Canceled', 'interrupted by SIGINT'))
      throw new Error('whatever follows')
    }
    const { error } = await run(newPath(), { beforeGiven }, stop.signal)
    assert.equal(error?.message, 'interrupted by SIGINT')
  })
})
