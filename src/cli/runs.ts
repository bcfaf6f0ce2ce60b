import { SHARDS } from '../bulk/work.ts'
import { Fault, oneLine } from '../fault.ts'
import { RunList, type RunOverview } from '../queue/list.ts'
import { nameOf, shareOf, titleOf } from '../queue/status.ts'
import { queueSettings } from './queue-option.ts'
import { interruption, say, sayJson } from './terminal.ts'
import { timeOf } from './verify-progress.ts'

export interface RunsArguments {
  readonly queue: string
  readonly config?: readonly string[]
  readonly remove?: string
  readonly json?: true
}

const MOST_FAULTS = 5
const SHORTEST_ID = 4

export async function runs({ queue, config, remove, json }: RunsArguments): Promise<void> {
  const list = await RunList.open(queueSettings(queue, config), interruption())
  try {
    const all = await list.all()
    if (remove !== undefined) await list.remove(chosen(all, remove).id)
    if (json)
      return sayJson(remove === undefined ? { runs: all.map(forPrograms) } : { removed: chosen(all, remove).id })
    if (remove !== undefined) return say(`run ${chosen(all, remove).id} is removed`)
    if (all.length === 0) say(`there are no runs in the ${list.name}`)
    for (const run of all) for (const line of described(run)) say(line)
  } finally {
    await list.close()
  }
}

function chosen(all: readonly RunOverview[], id: string): RunOverview {
  const found = all.filter(run => run.id.startsWith(id.toLowerCase()))
  const [run] = found
  if (id.length >= SHORTEST_ID && found.length === 1 && run) return run
  throw new Fault(
    'BadRequest',
    found.length > 1 ? `several runs begin with ${id}` : `there is no run ${oneLine(id, 40)}`,
    {
      remedy: `Give at least ${SHORTEST_ID} digits of one that "runs" shows.`,
    },
  )
}

function described({ id, command, identity, begun, ended, status, alive }: RunOverview): readonly string[] {
  const { waiting, taken, done, failed } = status.shards
  const shards = [
    `${done} of ${SHARDS} shards done`,
    ...(taken > 0 ? [`${taken} in work`] : []),
    ...(waiting > 0 ? [`${waiting} waiting`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ].join(', ')
  const when = ended
    ? `${status.state} after ${timeOf((ended.getTime() - begun.getTime()) / 1000)}${status.reported ? '' : ', not reported yet'}`
    : `${alive.length === 0 ? 'nobody works on it' : 'running'}, ${Math.floor(shareOf(status) * 100)} %`
  const rate = alive.reduce((sum, worker) => sum + worker.rate, 0)
  const by = alive.length === 1 ? '1 process' : `${alive.length} processes`
  return [
    `${id} ${command}, begun ${begun.toISOString()}: ${when}`,
    `  ${oneLine(JSON.stringify(identity), 300)}`,
    `  ${shards}${ended || alive.length === 0 ? '' : `; ${Math.round(rate)} a second by ${by}`}`,
    ...(ended ? [] : alive).map(
      worker =>
        `  process ${worker.pid} on ${worker.host}: ${worker.done} shards done, ${Math.round(worker.rate)} a second, heard of ${timeOf(worker.seen)} ago`,
    ),
    ...status.failed.slice(0, MOST_FAULTS).map(({ shard, fault }) => `  ${titleOf(shard)} failed: ${fault}`),
    ...(failed > MOST_FAULTS ? [`  and ${failed - MOST_FAULTS} more`] : []),
  ]
}

function forPrograms({ id, command, identity, begun, ended, status, alive }: RunOverview): object {
  const { state, reported, shards, tally, failed } = status
  return {
    ...{ id, command, identity, begun, ended: ended ?? null, state, reported, shards, tally },
    rate: alive.reduce((sum, worker) => sum + worker.rate, 0),
    workers: alive.map(({ host, pid, done, rate, seen }) => ({ host, pid, done, rate, seen })),
    failed: failed.map(({ shard, fault }) => ({ shard: nameOf(shard), fault })),
  }
}
