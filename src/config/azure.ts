import { z } from 'zod'
import { archiveWarning, type Common, common, type Read, tidy } from './common.ts'
import { connection, connectionOf } from './connection.ts'
import { type AzureAccount, readConnectionString } from './connection-string.ts'
import { bad, section } from './reading.ts'
import { BARE, endpoint, flag, isBare, isPrivate, oneOf, optionalText, requiredText } from './values.ts'

/** In base units: AzureOptions of stores/azure/azure.ts. */
export type AzureConfig = Readonly<ReturnType<typeof readAzure>['provider']>

const container = requiredText("the container's name").refine(
  name => /^(\$root|[a-z0-9](-?[a-z0-9])+)$/.test(name) && name.length <= 63,
  { error: "a container's name: 3 to 63 lower-case letters, digits and single hyphens" },
)
const TIERS = ['Hot', 'Cool', 'Cold', 'Archive', 'Premium'] as const
const shared = {
  ContainerName: container,
  CreateContainerIfNotExists: flag.default(true),
  ...connection,
  ...common,
}
const accountUrl = endpoint
  .refine(url => !/[?&]sig=/i.test(url), {
    error:
      'a URL without a signature: write that in ConnectionString, as "BlobEndpoint=https://ACCOUNT.blob.core.windows.net/;SharedAccessSignature=sv=..."',
    abort: true,
  })
  .refine(isBare, { ...BARE, abort: true })
  .refine(url => !/^https?:\/\/[^/]+\.blob\.[^/]+\/./i.test(url), {
    error: "the account's URL alone, such as https://ACCOUNT.blob.core.windows.net, without the container",
  })
const tier = (given: unknown) => {
  if (typeof given !== 'string') return given
  const text = given.trim().toLowerCase()
  return text === '' ? undefined : (TIERS.find(known => known.toLowerCase() === text) ?? given)
}
export const azureSchema = z.object({
  ConnectionString: optionalText.optional(),
  AccountUrl: accountUrl.default(''),
  AccessTier: z.preprocess(tier, oneOf(...TIERS).optional()),
  ...shared,
})
export const oldAzureSchema = z.object({
  AccountName: requiredText("the storage account's name"),
  AccountKey: requiredText("the storage account's key"),
  ...shared,
})

/** `name`: of the section, which is `value`. */
export function readAzure(name: string, value: unknown, warnings: string[]) {
  const o = section(azureSchema, name, value, warnings)
  if (!o.ConnectionString && !o.AccountUrl)
    throw bad(`${name}.ConnectionString is missing; give it, or AccountUrl for the default credentials of Azure`)
  if (o.ConnectionString && o.AccountUrl)
    throw bad(
      `${name} has both ConnectionString and AccountUrl; give one: a URL means the default credentials of Azure`,
    )
  if (o.AccountUrl && !isPrivate(o.AccountUrl))
    throw bad(
      `${name}.AccountUrl begins with http://: the token of an identity must not be sent unencrypted; write https://`,
    )
  const account: AzureAccount = o.ConnectionString
    ? readConnectionString(`${name}.ConnectionString`, o.ConnectionString)
    : { account: accountOf(o.AccountUrl), endpoint: o.AccountUrl, credentials: { kind: 'chain' } }
  if (account.credentials.kind === 'sas' && !isPrivate(account.endpoint))
    warnings.push(`${name}.ConnectionString sends its signature unencrypted (http://): anybody who sees it can use it`)
  if (o.ConnectionString && new URL(account.endpoint).pathname.replace(/\/+$/, '').endsWith(`/${o.ContainerName}`))
    warnings.push(
      `${name}.ConnectionString has the container's name in its BlobEndpoint. If that is the container's own URL, all objects are in a folder "${o.ContainerName}/" of the container, as with the official plugin. If the container is still empty, leave the name out`,
    )
  if (o.AccessTier === 'Archive') warnings.push(archiveWarning(`${name}.AccessTier`, o.AccessTier))
  return { provider: { ...providerOf(o), ...account, accessTier: o.AccessTier }, common: sharedOf(o) }
}

/** The section's name and options before version 1.0 of the official plugin. */
export function readOldAzure(name: string, value: unknown, warnings: string[]): Read<AzureConfig> {
  const o = section(oldAzureSchema, name, value, warnings)
  warnings.push(`the section "${name}" is deprecated: use "AzureBlobStorage" with a ConnectionString`)
  const { AccountName, AccountKey } = o
  const text = `DefaultEndpointsProtocol=https;AccountName=${AccountName};AccountKey=${AccountKey}`
  const account = readConnectionString(name, text)
  return { provider: { ...providerOf(o), ...account, accessTier: undefined }, common: sharedOf(o) }
}

/** The official plugin's HTTP library takes "./" out of the path; doubled slashes arrive. */
function sharedOf<T extends Common>(o: T): T {
  return { ...o, RootPath: tidy(o.RootPath, ['.']) }
}

function providerOf(o: Pick<z.output<typeof oldAzureSchema>, keyof typeof shared>) {
  return {
    kind: 'azure' as const,
    container: o.ContainerName,
    createContainer: o.CreateContainerIfNotExists,
    ...connectionOf(o),
  }
}

/** The account of `https://acct.blob.core.windows.net`; for an appliance or emulator it is in the path. */
function accountOf(url: string): string {
  const { hostname, pathname } = new URL(url)
  const [, inPath] = /^\/([^/]+)\/?$/.exec(pathname) ?? []
  return inPath ?? hostname.split('.')[0] ?? hostname
}
