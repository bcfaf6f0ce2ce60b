const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of a text such as `90m`, `24h`, `7d` or `0`. Undefined: it is no such text. */
export function ageOf(text: string): number | undefined {
  if (text === '0') return 0
  const [, count = '', unit = ''] = /^(\d{1,6})([mhd])$/.exec(text) ?? []
  return count === '' ? undefined : Number(count) * (UNITS[unit] ?? 0)
}
