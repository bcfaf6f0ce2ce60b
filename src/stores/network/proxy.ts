/** Which way a request goes: directly, or through a proxy that Orthanc's configuration or the environment names. */
import { BlockList, isIP } from 'node:net'
import { hostname, networkInterfaces } from 'node:os'
import { Fault, messageOf, oneLine } from '../../fault.ts'

export interface Via {
  /** Scheme, host and port. */
  readonly origin: string
  /** The value of Proxy-Authorization; a secret. */
  readonly token: string | undefined
  /** For messages: where it is and who named it. */
  readonly name: string
}

/** `detour`: only where there is no direct way. */
export interface Way {
  readonly proxy?: Via | undefined
  readonly detour?: Via | undefined
}

export interface ProxyOptions {
  /** Orthanc's HttpProxy, with or without scheme. May hold a password. */
  readonly proxy: string | undefined
  /** CloudStorage.NoProxy. */
  readonly noProxy: readonly string[]
  /** Where the store is: scheme, host and port. All other hosts give tokens. */
  readonly store: string
  readonly warn: (line: string) => void
}

/** A connection to a proxy failed, or the proxy refused the tunnel. */
export class ProxyTrouble extends Error {
  override readonly name = 'ProxyTrouble'
  readonly proxy: string
  readonly host: string
  /** What the proxy answered, if it did. */
  readonly status: number | undefined

  constructor(proxy: Via, host: string, cause: unknown) {
    const said = messageOf(cause)
    super(said, { cause })
    this.proxy = proxy.name
    this.host = host
    const [, status] = /^Proxy response \((\d+)\)/.exec(said) ?? []
    this.status = status === undefined ? undefined : Number(status)
  }
}

/** The clouds' own hosts. Endpoints inside a customer's own network (VPC endpoints) are not among them. */
const CLOUDS =
  /(^|\.)(?<!\.vpce\.)(amazonaws\.com(\.cn)?|blob\.core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)|blob\.storage\.azure\.net|storage\.googleapis\.com)$/
/** Metadata services, which give tokens to this machine only. */
const METADATA =
  /^(169\.254\.|\[fe80:|\[fd00:ec2::|metadata\.google\.internal\.?$|metadata\.goog\.?$|168\.63\.129\.16$)/
const LOOPBACK =
  /^(localhost|.*\.localhost|127\.[\d.]+|0\.0\.0\.0|\[::\]|\[::1\]|\[::ffff:7f[0-9a-f]{2}:[0-9a-f]+\])\.?$/

/** No host's name is longer. */
const LONGEST_NAME = 260

/** Whether requests to this host do not leave the machine. `host`: as of a URL. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host)
}

export function isMetadata(host: string): boolean {
  return METADATA.test(host)
}

/** The way to each host. */
export function wayfinder({ proxy, noProxy, store, warn }: ProxyOptions, env = process.env): (to: URL) => Way {
  // Orthanc uses HttpProxy for other things, too, and may accept one that we cannot use.
  const readable = (given: string | undefined, option: string): Via | undefined => {
    try {
      return given ? readProxy(given, option) : undefined
    } catch (error) {
      warn(`${Fault.from(error).message}: it is ignored for the object storage`)
      return undefined
    }
  }
  const named = readable(proxy, 'HttpProxy')
  const past = bypass([...noProxy, ...(env['no_proxy'] ?? env['NO_PROXY'] ?? '').split(/[,\s]+/)], warn)
  const variable = env['https_proxy'] ? 'https_proxy' : 'HTTPS_PROXY'
  const ofEnvironment = readable(env[variable], `${variable} of the environment`)
  return to => {
    if (isLoopback(to.hostname) || isMetadata(to.hostname) || isOwn(to.hostname) || past(to)) return {}
    if (named) return { proxy: named }
    if (to.protocol !== 'https:') return {}
    return to.origin !== store || CLOUDS.test(to.hostname) ? { proxy: ofEnvironment } : { detour: ofEnvironment }
  }
}

function isOwn(host: string): boolean {
  if (host === hostname().toLowerCase()) return true
  const address = host.replace(/^\[|\]$/g, '')
  return (
    isIP(address) !== 0 && Object.values(networkInterfaces()).some(all => all?.some(one => one.address === address))
  )
}

/** As curl reads it: the last @ ends user and password, even if they have an @ themselves. */
function readProxy(text: string, option: string): Via {
  const [, scheme = 'http', rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(text.trim()) ?? []
  const at = rest.lastIndexOf('@')
  const place = `${scheme}://${rest.slice(at + 1)}`
  if (!URL.canParse(place) || !/^https?:$/.test(new URL(place).protocol))
    throw new Fault(
      'BadConfig',
      `${option} is not the URL of an HTTP proxy, such as http://proxy.hospital.example:3128`,
    )
  const { origin, host } = new URL(place)
  const [user = '', ...password] = rest.slice(0, Math.max(0, at)).split(':')
  const secret = Buffer.from(`${decoded(user)}:${decoded(password.join(':'))}`).toString('base64')
  return {
    origin,
    token: at < 0 ? undefined : `Basic ${secret}`,
    name: `the proxy ${oneLine(host, LONGEST_NAME)} (${option})`,
  }
}

/** A password may have a bare %. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The usual syntax of NO_PROXY: names (and all below), addresses, ranges such as 10.0.0.0/8, any with a port; or *. */
function bypass(entries: readonly string[], warn: (line: string) => void): (to: URL) => boolean {
  const plain = entries.map(entry =>
    entry
      .trim()
      .toLowerCase()
      .replace(/^https?:\/\/|\/$/g, ''),
  )
  const rules = plain.filter(entry => entry.length <= LONGEST_NAME).flatMap(entry => ruleOf(entry, warn) ?? [])
  return to => {
    const port = Number(to.port) || (to.protocol === 'https:' ? 443 : 80)
    const host = to.hostname.replace(/^\[|\]$|\.$/g, '')
    return rules.some(rule => (rule.port === undefined || rule.port === port) && rule.covers(host))
  }
}

interface Rule {
  readonly port: number | undefined
  covers(host: string): boolean
}

function ruleOf(entry: string, warn: (line: string) => void): Rule | undefined {
  if (entry === '') return undefined
  const [, bracketed, named, digits] = /^(?:\[(.+)\]|([^:]+|.*:.*:.*?))(?::(\d+))?$/.exec(entry) ?? []
  const bare = isIP(entry) === 6 || /^[0-9a-f:.]+\/\d+$/.test(entry) // the last number of an IPv6 address is no port
  const name = bare ? entry : (bracketed ?? named ?? entry)
  const port = bare || digits === undefined ? undefined : Number(digits)
  if (name === '*') return { port, covers: () => true }
  const [network = '', bits] = name.split('/')
  const family = isIP(network)
  if (family === 0) {
    if (bits !== undefined)
      warn(`NoProxy or NO_PROXY has '${oneLine(entry)}', which is neither a host nor a range of addresses`)
    const suffix = name.replace(/^\*?\./, '').replace(/\.$/, '')
    return { port, covers: host => host === suffix || host.endsWith(`.${suffix}`) }
  }
  const [kind, most] = family === 6 ? (['ipv6', 128] as const) : (['ipv4', 32] as const)
  const length = bits === undefined ? most : Number(bits)
  if (!(Number.isInteger(length) && length >= 0 && length <= most)) {
    warn(`NoProxy or NO_PROXY has '${oneLine(entry)}', which is not a range of addresses`)
    return undefined
  }
  const addresses = new BlockList()
  addresses.addSubnet(network, length, kind)
  return { port, covers: host => isIP(host) === family && addresses.check(host, kind) }
}
