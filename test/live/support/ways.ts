/** How tests reach each real server through a proxy. */
import { azurePlace, gcsPlace, type Place, s3Place } from './places.ts'
import { liveServer } from './servers.ts'

const MB = 1024 * 1024

type Section = Record<string, unknown>
export interface ServerWay {
  readonly provider: 's3' | 'azure' | 'gcs'
  /** Scheme, host and port of the server. */
  readonly origin: string
  make(): Promise<Place>
  /** The section, with another origin. */
  through(section: Section, origin: string): Section
  /** A size that goes up in parts. */
  readonly large: number
  readonly inParts: Section
  /** The request that makes a large object visible. */
  isLast(method: string, path: string): boolean
}

const viaEndpoint = (section: Section, Endpoint: string) => ({ ...section, Endpoint })
const isComplete = (method: string, path: string) => method === 'POST' && path.includes('uploadId=')

export function ways(): Readonly<Record<string, ServerWay>> {
  const [ceph, minio, azurite, google] = [
    liveServer('ceph'),
    liveServer('minio'),
    liveServer('azurite'),
    liveServer('fake-gcs'),
  ]
  const s3 = {
    provider: 's3' as const,
    through: viaEndpoint,
    large: 12 * MB,
    inParts: { UseTransferManager: true },
    isLast: isComplete,
  }
  return {
    ...(ceph && { Ceph: { ...s3, origin: ceph.endpoint, make: () => s3Place({}, ceph) } }),
    ...(minio && {
      MinIO: { ...s3, origin: minio.endpoint, make: () => s3Place({ VirtualAddressing: false }, minio) },
    }),
    ...(azurite && {
      Azurite: {
        provider: 'azure' as const,
        origin: new URL(azurite.endpoint).origin,
        make: () => azurePlace(azurite),
        through: (section: Section, origin: string) => ({
          ...section,
          ConnectionString: String(section['ConnectionString']).replace(new URL(azurite.endpoint).origin, origin),
        }),
        large: 33 * MB,
        inParts: {},
        isLast: (_: string, path: string) => path.includes('comp=blocklist'),
      },
    }),
    ...(google && {
      'fake-gcs-server': {
        provider: 'gcs' as const,
        origin: google.endpoint,
        make: () => gcsPlace(google),
        through: viaEndpoint,
        large: 1 * MB, // it forgets an upload session that is broken off, so only whole writes are tried
        inParts: {},
        isLast: (method: string) => method === 'POST',
      },
    }),
  }
}
