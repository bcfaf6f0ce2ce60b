/** Azure's connection strings: `Name=value` pairs between semicolons, in which a value may hold further equal signs. */
import { bad } from './reading.ts'
import { isBare } from './values.ts'

export interface AzureAccount {
  readonly account: string
  /** Of the Blob service, scheme included. */
  readonly endpoint: string
  readonly credentials:
    | { readonly kind: 'key'; readonly account: string; readonly key: string }
    | { readonly kind: 'sas'; readonly sas: string }
    | { readonly kind: 'chain' }
}

/** Of the emulator; Microsoft publishes the key, which is the same everywhere. */
const EMULATOR =
  'DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;' +
  'AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='

const NAMES = [
  'DefaultEndpointsProtocol',
  'AccountName',
  'AccountKey',
  'SharedAccessSignature',
  'BlobEndpoint',
  'EndpointSuffix',
  'UseDevelopmentStorage',
  'DevelopmentStorageProxyUri',
]

/** `path`: of the option, for messages. They never quote the text, which is a secret. */
export function readConnectionString(path: string, text: string): AzureAccount {
  if (/^https?:\/\//i.test(text))
    throw bad(`${path} is a URL; with a signature, write "BlobEndpoint=https://...;SharedAccessSignature=sv=..."`)
  const pairs = new Map<string, string>()
  for (const pair of text.split(';').map(part => part.trim())) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    if (at < 1) throw bad(`${path} is not a connection string of Azure: it must be Name=value pairs, separated by ";"`)
    const given = pair.slice(0, at).trim()
    const name = NAMES.find(known => known.toLowerCase() === given.toLowerCase()) ?? given
    pairs.set(name, pair.slice(at + 1).trim())
  }
  if (pairs.get('UseDevelopmentStorage')?.toLowerCase() === 'true') {
    const proxy = pairs.get('DevelopmentStorageProxyUri')
    // The proxy's URI has no port: the emulator's own stays.
    const text = proxy ? EMULATOR.replace('http://127.0.0.1', proxy.replace(/\/$/, '')) : EMULATOR
    return readConnectionString(path, text)
  }

  const key = pairs.get('AccountKey')
  const name = pairs.get('AccountName')
  const [endpoint, signature] = (pairs.get('BlobEndpoint') ?? (name && standard(path, name, pairs)))?.split('?') ?? []
  const sas = pairs.get('SharedAccessSignature')?.replace(/^\?/, '') || signature
  if (!endpoint || !URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw bad(`${path} has neither AccountName nor a BlobEndpoint that is a URL`)
  if (!isBare(endpoint)) throw bad(`${path} has a BlobEndpoint with a user, a password or a fragment`)
  const account = name ?? new URL(endpoint).hostname.split('.')[0] ?? ''
  if (key !== undefined && key !== '') {
    if (!name) throw bad(`${path} has an AccountKey without an AccountName`)
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key) || key.length % 4 !== 0)
      throw bad(`${path} has an AccountKey that is not base64: it must be copied as Azure shows it`)
    return { account, endpoint, credentials: { kind: 'key', account, key } }
  }
  if (sas) return { account, endpoint, credentials: { kind: 'sas', sas } }
  throw bad(`${path} has neither AccountKey nor SharedAccessSignature`)
}

function standard(path: string, account: string, pairs: ReadonlyMap<string, string>): string {
  const protocol = pairs.get('DefaultEndpointsProtocol') ?? 'https'
  const suffix = (pairs.get('EndpointSuffix') ?? 'core.windows.net').replace(/\/$/, '')
  // Else signed requests could go to another host.
  if (!/^[\w-]+$/.test(account) || !/^[\w.-]+(:\d+)?$/.test(suffix) || !/^https?$/i.test(protocol))
    throw bad(
      `${path} has an AccountName or EndpointSuffix that cannot be a part of a host's name, or a protocol other than http and https`,
    )
  return `${protocol}://${account}.blob.${suffix}`
}
