import { type Logger, pino } from 'pino'

export type { Logger }

/** Orthanc's levels, as the LOG frame numbers them. Orthanc's plugin interface has no finer one than INFO. */
export const LogLevel = { error: 0, warning: 1, info: 2 } as const
export type LogLevel = (typeof LogLevel)[keyof typeof LogLevel]

/** A pino logger whose lines go to `write`; what is below INFO is dropped here. */
export function logTo(write: (level: LogLevel, line: string) => void): Logger {
  const stream = {
    // pino leaves the last record's fields on a stream that carries this symbol, so that no JSON is parsed back.
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 30,
    lastMsg: '',
    write() {
      const { lastLevel } = this
      const level = lastLevel >= 50 ? LogLevel.error : lastLevel >= 40 ? LogLevel.warning : LogLevel.info
      write(level, this.lastMsg)
    },
  }
  return pino({ level: 'info', base: null, timestamp: false }, stream)
}
