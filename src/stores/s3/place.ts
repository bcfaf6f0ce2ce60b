/** Where a bucket is: scheme, host and path of its requests. */
import { encode } from '../http/dialect.ts'

export interface S3Place {
  /** Scheme included; undefined = AWS. */
  readonly endpoint: string | undefined
  readonly region: string
  readonly bucket: string
  /** What `bucket` is the ARN of; undefined = it is a name. */
  readonly accessPoint?: { readonly name: string; readonly account: string } | undefined
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

/** Path-style for IP addresses, which have no subdomains, and for names that no certificate or DNS label could hold. */
export function s3PlaceOf({ endpoint, region, bucket, accessPoint, virtualAddressing }: S3Place) {
  if (accessPoint) {
    const host = `${accessPoint.name}-${accessPoint.account}.s3-accesspoint.${region}.${suffixOf(region)}`
    return { origin: `https://${host}`, host, base: '' }
  }
  const url = new URL(endpoint ?? `https://s3.${region}.${suffixOf(region)}`)
  const folder = url.pathname.replace(/\/+$/, '')
  const address = /^[\d.]+$|^\[/.test(url.hostname)
  const label = url.protocol === 'https:' ? /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/ : /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
  if (!virtualAddressing || address || !label.test(bucket))
    return { origin: url.origin, host: url.host, base: `${folder}/${encode(bucket)}` }
  const host = `${bucket}.${url.host}`
  return { origin: `${url.protocol}//${host}`, host, base: folder }
}
