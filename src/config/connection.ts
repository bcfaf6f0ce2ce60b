import type { z } from 'zod'
import { seconds, whole } from './values.ts'

/** The options of every provider that is reached over HTTP. */
export interface ConnectionConfig {
  readonly connectTimeoutMs: number
  /** For one whole upload or download, retries included. */
  readonly requestTimeoutMs: number
  readonly maxConnections: number
  readonly maxRetries: number
}

export const connection = {
  ConnectionTimeout: seconds(3600, 30),
  RequestTimeout: seconds(2_000_000, 1200), // timers take no more than 24 days
  MaxConnections: whole(1, 10_000, 'connections').default(25),
  MaxRetries: whole(0, 10_000, 'retries').default(10),
}

export function connectionOf(o: z.output<z.ZodObject<typeof connection>>): ConnectionConfig {
  return {
    connectTimeoutMs: o.ConnectionTimeout * 1000,
    requestTimeoutMs: o.RequestTimeout * 1000,
    maxConnections: o.MaxConnections,
    maxRetries: o.MaxRetries,
  }
}
