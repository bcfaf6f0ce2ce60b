import { resolve } from 'node:path'
import { z } from 'zod'
import { common } from './common.ts'
import { connection, connectionOf } from './connection.ts'
import { bad, section } from './reading.ts'
import { bareEndpoint, bucketName, isKey, isPrivate, optionalText } from './values.ts'

/** In base units: GcsOptions of stores/gcs/gcs.ts. */
export type GcsConfig = Readonly<ReturnType<typeof readGcs>['provider']>

export const gcsSchema = z.object({
  BucketName: bucketName,
  ServiceAccountFile: optionalText.optional(),
  Endpoint: bareEndpoint.default(''),
  StorageClass: optionalText.optional(),
  ...connection,
  ...common,
})

/** `name`: of the section, which is `value`. */
export function readGcs(name: string, value: unknown, warnings: string[]) {
  const o = section(gcsSchema, name, value, warnings)
  if (isKey(o.ServiceAccountFile ?? ''))
    throw bad(`${name}.ServiceAccountFile holds a key; it must be the path of the file that holds the key`)
  if (o.ServiceAccountFile && o.Endpoint && !isPrivate(o.Endpoint))
    throw bad(
      `${name}.Endpoint begins with http://: the token of ServiceAccountFile must not be sent unencrypted; write https://, or leave ServiceAccountFile out for an emulator, which needs no token`,
    )
  const provider = {
    kind: 'gcs' as const,
    bucket: o.BucketName,
    // A relative path begins where Orthanc was started, as with the official plugin: the engine is started there, too.
    serviceAccountFile: o.ServiceAccountFile && resolve(o.ServiceAccountFile),
    endpoint: o.Endpoint === '' ? undefined : o.Endpoint,
    storageClass: o.StorageClass?.toUpperCase(),
    ...connectionOf(o),
  }
  return { provider, common: o }
}
