/** How a test gets a real server: setup.ts has started it, or there is a loud reason why not. */
import type { TestContext } from 'node:test'

export interface S3Settings {
  readonly endpoint: string
  readonly accessKey: string
  readonly secretKey: string
  readonly region: string
}

/** Variables by which test/live/setup.ts hands a server to the test processes. */
export const LIVE_S3 = 'OCS_LIVE_S3'
export const LIVE_S3_MISSING = 'OCS_LIVE_S3_MISSING'

/** The S3 server, or undefined after a loud skip. With LIVE=required a missing server is a failure. */
export function s3Server(): S3Settings | undefined {
  const settings = process.env[LIVE_S3]
  if (settings) return JSON.parse(settings)
  const why = process.env[LIVE_S3_MISSING] ?? 'run npm test, which starts one'
  if (process.env['LIVE'] === 'required') throw new Error(`LIVE=required, but there is no S3 server: ${why}`)
  process.stderr.write(`\nSKIPPED: no S3 server for ${process.argv[1]}: ${why}\n\n`)
  return undefined
}

/** For node:test's `skip`. */
export function skipUnless(server: unknown): { skip: string } | Record<string, never> {
  return server ? {} : { skip: 'no S3 server' }
}

export type { TestContext }
