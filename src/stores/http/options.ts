/** What a store over HTTP needs beside its dialect. */
import type { HttpClient } from '../network/client.ts'
import { network } from '../network/network.ts'
import type { RetryPolicy } from '../wrappers/retry.ts'
import type { Transfer } from './dialect.ts'

export interface HttpStoreOptions {
  readonly dispatcher: HttpClient
  readonly policy: RetryPolicy
  /** Parts and ranges in parallel; undefined = one request per object, as long as the provider takes it so. */
  readonly transfer: Transfer | undefined
  /** Connections that removeMany() may use at once: reads and writes come first. */
  readonly removals: number
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

/** What a store needs to know of the place where it works, whatever the provider. */
export interface Environment {
  /** Orthanc's HttpsCACertificates. */
  readonly caFile: string | undefined
  /** Orthanc's HttpProxy. */
  readonly proxy: string | undefined
  /** Hosts to reach without a proxy; CloudStorage.NoProxy. */
  readonly noProxy?: readonly string[]
  /** Gets lines that an operator should read although nothing has failed. */
  readonly warn?: (line: string) => void
  /** The key for checks, under which Orthanc stores nothing. Below the root path, as permissions may end there. */
  readonly probeKey: string
}

const LONGEST_STALL_MS = 60_000
/** More would not be faster: servers work on a batch for longer than it travels. */
const MOST_REMOVALS = 8

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
    removals: Math.min(MOST_REMOVALS, Math.max(1, Math.floor(maxConnections / 4))),
    stallMs: Math.min(LONGEST_STALL_MS, requestTimeoutMs),
    requestTimeoutMs,
    logRequest: undefined,
    log,
  }
}
