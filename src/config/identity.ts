import type { EngineConfig } from './config.ts'

/** What tells one store from all others, without secrets: the entries of the journal are for one store only. */
export function identityOf({ provider }: Pick<EngineConfig, 'provider'>): string {
  switch (provider.kind) {
    case 's3':
      return `s3 ${placeOf(provider.endpoint) ?? `aws ${provider.region}`} ${provider.bucket}`
    case 'azure':
      return `azure ${placeOf(provider.endpoint)} ${provider.container}`
    case 'gcs':
      return `google ${placeOf(provider.endpoint) ?? 'google'} ${provider.bucket}`
    case 'directory':
      return `directory ${provider.path.replace(/(.)\/+$/, '$1')}`
  }
}

/** Without user, password and query. */
function placeOf(endpoint: string | undefined): string | undefined {
  if (endpoint === undefined) return undefined
  const { origin, pathname } = new URL(endpoint)
  return `${origin}${pathname.replace(/\/+$/, '')}`
}
