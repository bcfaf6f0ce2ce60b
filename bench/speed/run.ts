/** npm run bench -- --only NAME: the loads of docs/speed.md. */

import { deletions } from './deletions.ts'
import { type Row, rateOf, type Settings, type SpeedLoad } from './load.ts'
import { mount } from './mount.ts'
import { secondReads } from './second-reads.ts'
import { series } from './series.ts'
import { tableOf, targetLinesOf } from './tables.ts'

export const speedLoads: readonly SpeedLoad[] = [series, deletions, secondReads, mount]

/** Prints what it finds as it goes. */
export async function measureSpeed(loads: readonly SpeedLoad[], settings: Settings): Promise<void> {
  for (const load of loads) {
    const rows: Row[] = []
    for await (const row of load.measure(settings)) {
      rows.push(row)
      const { spent } = row
      const more = spent.requests === undefined ? '' : `, ${spent.requests} requests, ${spent.sentBytes} bytes`
      console.error(`${row.what}; ${row.subject}: ${spent.seconds.toFixed(2)} s, ${rateOf(row).toFixed(1)}/s${more}`)
    }
    console.log([`## ${load.title}`, '', load.text, '', ...tableOf(load, rows)].join('\n'))
    for (const line of targetLinesOf(load, rows)) console.error(line)
  }
}
