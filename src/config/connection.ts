import type { z } from 'zod'
import { seconds, whole } from './values.ts'

/** The options of every provider that is reached over HTTP. */
export const connection = {
  ConnectionTimeout: seconds(3600, 30),
  // For one whole upload or download, retries included. Timers take no more than 24 days.
  RequestTimeout: seconds(2_000_000, 1200),
  MaxConnections: whole(1, 10_000, 'connections').default(25),
  MaxRetries: whole(0, 10_000, 'retries').default(10),
}

export function connectionOf(o: z.output<z.ZodObject<typeof connection>>) {
  return {
    connectTimeoutMs: o.ConnectionTimeout * 1000,
    requestTimeoutMs: o.RequestTimeout * 1000,
    maxConnections: o.MaxConnections,
    maxRetries: o.MaxRetries,
  }
}
