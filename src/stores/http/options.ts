/** What a store over HTTP is made of, beside its dialect. */
import type { Dispatcher } from 'undici'
import { network } from '../network/network.ts'
import type { RetryPolicy } from '../wrappers/retry.ts'
import type { Transfer } from './dialect.ts'

export interface HttpStoreOptions {
  readonly dispatcher: Dispatcher
  readonly policy: RetryPolicy
  /** Parts and ranges in parallel; undefined = one request per object, as long as the provider takes it so. */
  readonly transfer: Transfer | undefined
  /** Longest wait without a byte in either direction. */
  readonly stallMs: number
  /** Longest wait for anything. */
  readonly requestTimeoutMs: number
  /** One line per request, if wanted; and one per repeated attempt. */
  readonly logRequest: ((line: string) => void) | undefined
  readonly log: (line: string) => void
}

/** What the configuration says of connections, whatever the provider. */
export interface ConnectionOptions {
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly maxConnections: number
  readonly maxRetries: number
}

/** What a store is told of where it works, whatever the provider. */
export interface Environment {
  /** Orthanc's HttpsCACertificates. */
  readonly caFile: string | undefined
  /** Orthanc's HttpProxy. */
  readonly proxy: string | undefined
  /** Hosts that no proxy leads to; CloudStorage.NoProxy. */
  readonly noProxy?: readonly string[]
  /** What somebody should look at, though it is no failure yet. */
  readonly warn?: (line: string) => void
  /** An object that nobody writes, below the root path: permissions may end there. */
  readonly probeKey: string
}

const LONGEST_STALL_MS = 60_000

/** What a provider's configuration becomes for httpStore(). `origin`: where the store is. */
export function httpOptions(
  { connectTimeoutMs, requestTimeoutMs, maxConnections, maxRetries }: ConnectionOptions,
  { caFile, proxy, noProxy = [], warn }: Environment,
  origin: string,
  log: (line: string) => void,
): HttpStoreOptions {
  const ways = { caFile, proxy, noProxy, store: origin, info: log, warn: warn ?? log }
  return {
    dispatcher: network({ ...ways, connectTimeoutMs, maxConnections }),
    policy: { maxRetries },
    transfer: undefined,
    stallMs: Math.min(LONGEST_STALL_MS, requestTimeoutMs),
    requestTimeoutMs,
    logRequest: undefined,
    log,
  }
}
