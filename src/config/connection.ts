import type { z } from 'zod'
import { whole } from './values.ts'

/** The options of every provider that is reached over HTTP. */
export interface ConnectionConfig {
  readonly connectTimeoutMs: number
  /** For one whole upload or download, retries included. */
  readonly requestTimeoutMs: number
  readonly maxConnections: number
  readonly maxRetries: number
}

export const connection = {
  ConnectionTimeout: whole(1, 3600, 'seconds').default(30),
  RequestTimeout: whole(1, 86_400, 'seconds').default(1200),
  MaxConnections: whole(1, 1000, 'connections').default(25),
  MaxRetries: whole(0, 100, 'retries').default(10),
}

export function connectionOf(o: z.output<z.ZodObject<typeof connection>>): ConnectionConfig {
  return {
    connectTimeoutMs: o.ConnectionTimeout * 1000,
    requestTimeoutMs: o.RequestTimeout * 1000,
    maxConnections: o.MaxConnections,
    maxRetries: o.MaxRetries,
  }
}
