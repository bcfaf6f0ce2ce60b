import { type Logger, pino } from 'pino'

export type { Logger }

/** Orthanc's levels, as the LOG frame numbers them. Orthanc's plugin interface has no finer one than INFO. */
export const Level = { error: 0, warning: 1, info: 2 } as const
export type Level = (typeof Level)[keyof typeof Level]

/** A pino logger whose lines go to `write`; what is below INFO is dropped here. */
export function logTo(write: (level: Level, line: string) => void): Logger {
  const stream = {
    // pino leaves the last record's fields on a stream that carries this symbol, so that no JSON is parsed back.
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 30,
    lastMsg: '',
    write() {
      const { lastLevel } = this
      const level = lastLevel >= 50 ? Level.error : lastLevel >= 40 ? Level.warning : Level.info
      write(level, this.lastMsg)
    },
  }
  return pino({ level: 'info', base: null, timestamp: false }, stream)
}
