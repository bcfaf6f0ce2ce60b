/** Where a bucket is: scheme, host and path of its requests, and for which region they are signed. */
import { encode } from './dialect.ts'

export interface S3Place {
  readonly endpoint: string | undefined
  readonly region: string
  readonly bucket: string
  readonly virtualAddressing: boolean
}

/** AWS's partitions that do not end in amazonaws.com, by the beginning of their regions. */
const SUFFIXES: Readonly<Record<string, string>> = {
  'cn-': 'amazonaws.com.cn',
  'us-iso-': 'c2s.ic.gov',
  'us-isob-': 'sc2s.sgov.gov',
  'eu-isoe-': 'cloud.adc-e.uk',
  'us-isof-': 'csp.hci.ic.gov',
  'eu-isof-': 'csp.hci.ic.gov',
  'eusc-': 'amazonaws.eu',
}

const suffixOf = (region: string) =>
  Object.entries(SUFFIXES).find(([prefix]) => region.startsWith(prefix))?.[1] ?? 'amazonaws.com'

/** What stands in an access point's ARN, which may be given instead of a bucket's name; undefined = it is none. */
export function accessPointOf(bucket: string) {
  const [, region, account, name] =
    /^arn:aws[a-z-]*:s3:([a-z0-9-]+):(\d{12}):accesspoint[:/]([a-z0-9][a-z0-9-]{1,48}[a-z0-9])$/.exec(bucket) ?? []
  return region && account && name ? { region, account, name } : undefined
}

/** Path-style for IP addresses, which have no subdomains, and for names that no certificate or DNS label could hold. */
export function placeOf({ endpoint, region, bucket, virtualAddressing }: S3Place) {
  const point = endpoint === undefined ? accessPointOf(bucket) : undefined
  if (point) {
    const host = `${point.name}-${point.account}.s3-accesspoint.${point.region}.${suffixOf(point.region)}`
    return { origin: `https://${host}`, host, base: '', region: point.region }
  }
  const url = new URL(endpoint ?? `https://s3.${region}.${suffixOf(region)}`)
  const folder = url.pathname.replace(/\/+$/, '')
  const address = /^[\d.]+$|^\[/.test(url.hostname)
  const label = url.protocol === 'https:' ? /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/ : /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
  if (!virtualAddressing || address || !label.test(bucket))
    return { origin: url.origin, host: url.host, base: `${folder}/${encode(bucket)}`, region }
  const host = `${bucket}.${url.host}`
  return { origin: `${url.protocol}//${host}`, host, base: folder, region }
}
