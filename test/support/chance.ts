/** Chance that can be had again: the same numbers for the same seed (mulberry32). */
export interface Chance {
  /** In [0, 1). */
  (): number
  /** An integer from `from` to `to`, both included. */
  between(from: number, to: number): number
  oneOf<T>(all: readonly T[]): T
}

export function chanceOf(seed: number): Chance {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (from: number, to: number) => from + Math.floor(next() * (to - from + 1))
  return Object.assign(next, {
    between,
    oneOf: <T>(all: readonly T[]): T => all[between(0, all.length - 1)] as T,
  })
}
