import type { Headers } from './dialect.ts'

/** Providers refuse signatures and tokens that are older or younger than this. */
const TOLERATED_MS = 5 * 60_000

/** What to do about a refusal when the server's Date shows that this machine's clock is wrong; else undefined. */
export function clockRemedy(headers: Headers, now = Date.now()): string | undefined {
  const off = now - Date.parse(String(headers['date']))
  if (!(Math.abs(off) > TOLERATED_MS)) return undefined
  const minutes = Math.round(Math.abs(off) / 60_000)
  return `This machine's clock is ${minutes} minutes ${off > 0 ? 'ahead of' : 'behind'} the server's: synchronise it (NTP).`
}
