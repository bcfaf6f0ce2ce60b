/** A store of S3 whose server keeps checksums, or does not, after the check that finds out. */
import { collect } from '../../src/bytes.ts'
import { type S3Options, s3Store } from '../../src/stores/s3/s3.ts'
import type { CheckOptions, Store } from '../../src/stores/store.ts'
import { withChecksum } from '../../src/stores/wrappers/checksum.ts'
import { withRetry } from '../../src/stores/wrappers/retry.ts'
import { type Asked, checksumServer, type Manners } from './checksum-server.ts'
import { s3Options } from './s3-options.ts'
import { never, noise } from './store.suite.ts'
import { undo } from './undo.ts'

export const MB = 1024 * 1024
export const SMALL = noise(1000)
export const LARGE = noise(3 * MB + 5)
export const CRC = 'x-amz-checksum-crc32'

type Server = Awaited<ReturnType<typeof checksumServer>>

export interface Opened extends Server {
  readonly store: Store
  /** Without wrappers: they take away the digest of what is read. */
  readonly raw: Store
  readonly lines: string[]
  readonly warnings: string[]
  /** Requests since the check. */
  since(): Asked[]
}

/** A store after the check at Orthanc's start, unless `options` say otherwise; `null` = no check. */
export async function started(
  manners: Manners = {},
  more: Partial<S3Options> = {},
  options: CheckOptions | null = { purpose: 'start' },
): Promise<Opened> {
  const server = await checksumServer(manners)
  const [lines, warnings] = [[] as string[], [] as string[]]
  const raw = s3Store(
    { ...s3Options, endpoint: server.endpoint, maxRetries: 1, ...more },
    { caFile: undefined, proxy: undefined, probeKey: 'probe', warn: line => warnings.push(line) },
    line => lines.push(line),
  )
  undo.push(() => raw.close())
  const store = withChecksum(withRetry({ maxRetries: 2, firstDelayMs: 1 }, () => {})(raw))
  if (options) await store.check(never, { ...options, warn: line => warnings.push(line) })
  const before = server.asked.length
  return { ...server, store, raw, lines, warnings, since: () => server.asked.slice(before) }
}

export const puts = (asked: readonly Asked[]) => asked.filter(({ method }) => method === 'PUT')
export const readBack = async (store: Store, key = 'k') => collect(await store.get(key, undefined, never))
