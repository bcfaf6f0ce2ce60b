import { createLogUpdate } from 'log-update'
import { note, setFooter } from './terminal.ts'

export interface Position {
  /** From 0 to 1; undefined when it is not known how much there is. */
  readonly share: number | undefined
  readonly text: string
}

const SHOW_AFTER_MS = 2_000
const REDRAW_MS = 200
const LINE_MS = 10_000
const BAR_WIDTH = 30

/**
 * Shows on stderr how far `position()` is, while `work` runs: on a terminal a bar, after two seconds; elsewhere, as in
 * a log, a line every ten seconds.
 */
export async function withProgress<T>(position: () => Position, work: () => Promise<T>): Promise<T> {
  const stop = process.stderr.isTTY ? drawBar(position) : writeLines(position)
  try {
    return await work()
  } finally {
    stop()
  }
}

function writeLines(position: () => Position): () => void {
  const timer = setInterval(() => note(lineOf(position())), LINE_MS)
  return () => clearInterval(timer)
}

function drawBar(position: () => Position): () => void {
  const update = createLogUpdate(process.stderr)
  let redraw: NodeJS.Timeout | undefined
  const draw = () => update(`${barOf(position().share)}${lineOf(position())}`)
  const begin = setTimeout(() => {
    setFooter({ clear: () => update.clear() })
    draw()
    redraw = setInterval(draw, REDRAW_MS)
  }, SHOW_AFTER_MS)
  return () => {
    clearTimeout(begin)
    clearInterval(redraw)
    if (!redraw) return
    setFooter(undefined)
    update.clear()
    update.done() // gives the cursor back
  }
}

export function barOf(share: number | undefined): string {
  if (share === undefined) return ''
  const full = Math.round(Math.min(Math.max(share, 0), 1) * BAR_WIDTH)
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] `
}

export function lineOf({ share, text }: Position): string {
  return share === undefined ? text : `${Math.floor(Math.min(Math.max(share, 0), 1) * 100)} %, ${text}`
}
