import { randomBytes } from 'node:crypto'
import { XMLBuilder, XMLParser } from 'fast-xml-parser'
import { Fault } from '../fault.ts'
import { type AzureCredentials, azureAuthorizer } from './azure-auth.ts'
import { azureFault, isMarked } from './azure-faults.ts'
import { type Dialect, type Draft, encode, encodePath, type Probe, type Told } from './dialect.ts'
import { type ConnectionOptions, type Environment, httpOptions, httpStore, otherBytes, sender } from './http.ts'
import type { Store } from './store.ts'
import { isStrange, notTheStores } from './stranger.ts'

/** SPEC section 2, `AzureBlobStorage`. */
export interface AzureOptions extends ConnectionOptions {
  readonly account: string
  /** Of the Blob service, scheme included; of an emulator with the account as its path. */
  readonly endpoint: string
  readonly container: string
  readonly credentials: AzureCredentials
  readonly createContainer: boolean
  readonly accessTier: string | undefined
}

export interface AzureLog {
  info(line: string): void
  warn(line: string): void
}

const MIB = 1024 ** 2
const MD5_OF_NOTHING = '1B2M2Y8AsgTpgAmY7PhCfg=='

export function azureStore(options: AzureOptions, environment: Environment, log: AzureLog): Store {
  const warn = environment.warn ?? (line => log.warn(line))
  const http = httpOptions(options, { ...environment, warn }, new URL(options.endpoint).origin, line => log.info(line))
  const authorize = azureAuthorizer(options.credentials, http.dispatcher, warn)
  const dialect: Dialect = { ...azureDialect(options, environment.probeKey), authorize }
  const store = httpStore(dialect, http)
  if (!options.createContainer) return store

  const send = sender(dialect, http)
  /** Does `work`, and if it finds no container, once more in a new one. */
  async function inContainer(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!isAbout(error, 'ContainerNotFound')) throw error
      await create(signal)
      await work()
    }
  }
  async function create(signal: AbortSignal): Promise<void> {
    const path = `${new URL(options.endpoint).pathname.replace(/\/+$/, '')}/${encode(options.container)}`
    try {
      await (
        await send('create the container', { method: 'PUT', path, query: [['restype', 'container']] }, signal)
      ).body.dump()
      log.warn(`the container '${options.container}' was missing and is now made: check in Azure that it is private`)
    } catch (error) {
      if (!isAbout(error, 'ContainerAlreadyExists')) throw error // another Orthanc was faster
    }
  }
  return {
    ...store,
    put: (key, body, signal) => inContainer(signal, () => store.put(key, body, signal)),
    check: signal => inContainer(signal, () => store.check(signal)),
  }
}

function isAbout(error: unknown, code: string): boolean {
  return error instanceof Fault && error.message.startsWith(code)
}

const parser = new XMLParser({
  parseTagValue: false,
  ignoreAttributes: false,
  trimValues: false,
  isArray: name => name === 'Blob',
})
const builder = new XMLBuilder({})

interface Blob {
  readonly Name: Name
  readonly Properties: { readonly 'Content-Length': string; readonly 'Last-Modified': string }
}
type Name = string | { readonly '#text': string; readonly '@_Encoded'?: string }

function azureDialect(options: AzureOptions, probeKey: string): Omit<Dialect, 'authorize'> {
  const { container, accessTier } = options
  const url = new URL(options.endpoint)
  const containerPath = `${url.pathname.replace(/\/+$/, '')}/${encode(container)}`
  const objectPath = (key: string) => `${containerPath}/${encodePath(key)}`
  const tier: Record<string, string> = accessTier === undefined ? {} : { 'x-ms-access-tier': accessTier }
  const put = (key: string, md5: string): Draft => ({
    method: 'PUT',
    path: objectPath(key),
    headers: { ...tier, 'x-ms-blob-type': 'BlockBlob', 'content-md5': md5 },
  })
  const probe = (verb: string, draft: Draft, code: Fault['code']): Probe => ({
    verb,
    draft,
    passes: fault => fault.code === code,
    judge: () => {},
  })

  return {
    name: `azure:${options.account}/${container}`,
    origin: url.origin,
    requestId: 'x-ms-request-id',
    digest: 'md5',
    put,
    marked: isMarked,
    acknowledges: (answer, md5) => ((own(answer).headers['content-md5'] ?? md5) === md5 ? 'same' : 'other'),
    get: (key, range, etag) => ({
      method: 'GET',
      path: objectPath(key),
      headers: {
        ...(range ? { range: `bytes=${range.start}-${range.end - 1}` } : {}),
        ...(etag === undefined ? {} : { 'if-match': etag }),
      },
    }),
    versionOf: ({ etag }) => (typeof etag === 'string' ? etag : undefined),
    digestOf: (_key, headers) => {
      const md5 = headers['content-range'] === undefined ? headers['content-md5'] : headers['x-ms-blob-content-md5']
      return typeof md5 === 'string' ? { name: 'md5', value: md5 } : undefined
    },
    stat: key => ({ method: 'HEAD', path: objectPath(key) }),
    statOf: (key, answer) => {
      const { headers } = own(answer)
      return { key, size: Number(headers['content-length']), modified: new Date(String(headers['last-modified'])) }
    },
    compare: ({ headers }, md5) => {
      if (md5 === undefined || headers['content-md5'] === undefined) return 'unclear'
      return headers['content-md5'] === md5 ? 'same' : 'other'
    },
    remove: key => ({ method: 'DELETE', path: objectPath(key) }),
    list: (prefix, from) => ({
      method: 'GET',
      path: containerPath,
      query: [
        ['restype', 'container'],
        ['comp', 'list'],
        ['prefix', prefix],
        ...(from === undefined ? [] : [['marker', from] as const]),
      ],
    }),
    page: answer => {
      const result = listingOf(answer)
      const objects = (result.Blobs?.Blob ?? []).map(({ Name, Properties }) => ({
        key: typeof Name === 'string' ? Name : Name['@_Encoded'] ? decodeURIComponent(Name['#text']) : Name['#text'],
        size: Number(Properties['Content-Length']),
        modified: new Date(Properties['Last-Modified']),
      }))
      return { objects, next: result.NextMarker || undefined }
    },
    // None of them changes anything: nobody writes this object, and the MD5 is not that of the body, at which Azure looks
    // after it has looked at the permission.
    probes: [
      probe('read', { method: 'GET', path: objectPath(probeKey) }, 'NotFound'),
      probe('write', { ...put(probeKey, MD5_OF_NOTHING), text: 'x' }, 'Corrupt'),
      probe('remove', { method: 'DELETE', path: objectPath(probeKey) }, 'NotFound'),
    ],

    // Measured against Azurite: at 16 MB blocks take as long as one request and 2.5 times its processor time; at 100 MB they
    // take two thirds of its time, and with a network between, whose single connections are slow, less.
    parts: {
      largestPut: 32 * MIB,
      smallestPart: 1 * MIB,
      mostParts: 50_000,
      usual: { concurrency: 4, partBytes: 8 * MIB },
      inOrder: false,
      wantsWhole: true, // Azure keeps no MD5 of an object in blocks unless it is told
      begin: () => undefined,
      uploadId: () => randomBytes(12).toString('hex'), // two uploads of one object must not mix their blocks
      part: (key, id, { number, digest }) => ({
        method: 'PUT',
        path: objectPath(key),
        query: [
          ['comp', 'block'],
          ['blockid', blockId(id, number)],
        ],
        headers: { 'content-md5': digest() },
        inUpload: true,
      }),
      receipt: (answer, { number, digest }, id) => {
        const md5 = own(answer).headers['content-md5']
        if (md5 !== undefined && md5 !== digest()) throw otherBytes()
        return blockId(id, number)
      },
      finish: (key, _id, receipts, whole) => ({
        method: 'PUT',
        path: objectPath(key),
        query: [['comp', 'blocklist']],
        headers: { ...tier, ...(whole === undefined ? {} : { 'x-ms-blob-content-md5': whole }) },
        text: builder.build({ BlockList: { Latest: receipts } }),
        inUpload: true,
        slow: true,
      }),
      finished: answer => void own(answer),
      abandon: () => undefined, // blocks that no list names are discarded after a week
    },

    fault: answer => azureFault(answer, options),
  }
}

/** Every answer of Azure's names the request. */
function own(answer: Told): Told {
  if (isStrange(answer.headers, isMarked(answer.headers))) throw notTheStores(answer, 'no x-ms-request-id')
  return answer
}

function listingOf(answer: Told) {
  let result: unknown
  try {
    result = parser.parse(answer.text)?.EnumerationResults
  } catch {
    // damaged, or no XML at all
  }
  if (result === undefined) throw notTheStores(answer, 'no EnumerationResults')
  return result as { readonly Blobs?: { readonly Blob?: readonly Blob[] }; readonly NextMarker?: string }
}

/** All block ids of an object must be equally long. */
function blockId(upload: string, number: number): string {
  return Buffer.from(`${upload}${String(number).padStart(6, '0')}`).toString('base64')
}
