/** Values of BucketName and Endpoint that are more than a name and a host, and what they mean. */
import { bad } from './reading.ts'
import { quoted } from './shown.ts'

const ACCESS_POINT = /^arn:aws[a-z-]*:s3:([a-z0-9-]+):(\d{12}):accesspoint[:/]([a-z0-9][a-z0-9-]{1,48}[a-z0-9])$/

/**
 * The access point that `bucket` is the ARN of: AWS has it under a host of its own. undefined = `bucket` is a name or
 * an alias. `name`: of the section. Throws for what cannot be used.
 */
export function accessPointOf(name: string, bucket: string, endpoint: string | undefined) {
  // Other servers than AWS may have such names for ordinary buckets.
  if (/--xa?-s3$/.test(bucket) && endpoint === undefined)
    throw bad(
      `${name}.BucketName is "${quoted(bucket)}", a directory bucket (S3 Express One Zone), which this plugin cannot use; use a general purpose bucket`,
    )
  if (!bucket.startsWith('arn:')) return undefined
  const [, ofBucket] = /^arn:aws[a-z-]*:s3:::([^/:]+)$/.exec(bucket) ?? []
  if (ofBucket) throw bad(`${name}.BucketName is the ARN of a bucket; write its name alone, "${quoted(ofBucket)}"`)
  const [, region, account, point] = ACCESS_POINT.exec(bucket) ?? []
  if (!region || !account || !point || endpoint !== undefined)
    throw bad(
      `${name}.BucketName is an ARN that cannot be used ${endpoint === undefined ? 'here' : 'together with Endpoint'}; write the bucket's name, or the alias of the access point (it ends in "-s3alias")`,
    )
  return { region, accessPoint: { name: point, account } }
}

/** Many consoles show the bucket's own host as "endpoint". */
export function checkEndpoint(
  name: string,
  bucket: string,
  endpoint: string | undefined,
  virtualAddressing: boolean,
  warnings: string[],
): void {
  if (endpoint === undefined) return
  const url = new URL(endpoint)
  const folder = url.pathname.replace(/\/+$/, '')
  if (folder.endsWith(`/${bucket}`))
    warnings.push(doubled(name, endpoint, bucket, endpoint.slice(0, endpoint.lastIndexOf(`/${bucket}`))))
  if (!url.hostname.startsWith(`${bucket.toLowerCase()}.`) || /^[\d.]+$/.test(url.hostname)) return
  const host = url.host.slice(bucket.length + 1)
  const right = `${url.protocol}//${host}${url.pathname === '/' ? '' : url.pathname}`
  if (virtualAddressing)
    throw bad(
      `${name}.Endpoint is "${endpoint}", which begins with the bucket's name; write "${right}": with VirtualAddressing, the plugin puts the bucket's name in front of it`,
    )
  warnings.push(doubled(name, url.host, bucket, right))
}

function doubled(name: string, given: string, bucket: string, right: string): string {
  return `${name}.Endpoint has the bucket's name in it. If "${given}" is the bucket's own, all objects are in a folder "${bucket}/" of the bucket, as with the official plugin. If the bucket is still empty, write "${right}"`
}
