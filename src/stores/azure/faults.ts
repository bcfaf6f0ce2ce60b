/** The one table from Azure's errors to faults. Error codes: "Blob service error codes" of the REST reference. */
import { type Fault, rowFor, sameRow } from '../../fault.ts'
import { clockRemedy } from '../http/clock.ts'
import type { Headers, HttpRefusal } from '../http/dialect.ts'
import { busy, damaged, type FaultRow, faultOfRow, replaced, usualStatus } from '../http/fault-row.ts'
import { xmlError } from '../http/xml.ts'
import type { AzureCredentials } from './auth.ts'

export interface AzureRemedyContext {
  readonly account: string
  readonly container: string
  readonly accessTier: string | undefined
  readonly credentials: AzureCredentials
}

/** The permission that a shared access signature needs for each verb. */
const letters: Readonly<Record<string, string>> = {
  read: 'r (read)',
  stat: 'r (read)',
  write: 'w (write)',
  remove: 'd (delete)',
  list: 'l (list)',
}

const refused: FaultRow<AzureRemedyContext> = {
  code: 'Denied',
  remedy: ({ account, credentials }, { headers }) => {
    const clock = clockRemedy(headers)
    if (clock) return clock
    if (credentials.kind === 'key')
      return `Most probably AccountKey is not (or no longer) a key of account '${account}'.`
    if (credentials.kind === 'chain')
      return `The token was not accepted: the identity must belong to the same tenant as account '${account}'.`
    return (
      expired(credentials.sas) ?? 'The shared access signature is not (or no longer) signed by a key of the account.'
    )
  },
}
const permission: FaultRow<AzureRemedyContext> = {
  code: 'Denied',
  remedy: ({ container, credentials }, answer) => {
    if (credentials.kind === 'sas')
      return (
        expired(credentials.sas) ??
        `The shared access signature needs the permission ${letters[answer.verb] ?? 'racwdl'} on container '${container}'.`
      )
    if (credentials.kind === 'chain')
      return `The identity needs the role Storage Blob Data Contributor on container '${container}'.`
    return `Most probably AccountKey is wrong, or the account's firewall does not let this machine in.`
  },
}
const discarded: FaultRow<AzureRemedyContext> = {
  code: 'Unavailable',
  startOver: true,
  remedy: 'Something else discarded blocks of the upload.',
}
const kept: FaultRow<AzureRemedyContext> = {
  code: 'Denied',
  remedy: 'A policy, hold, lease or snapshot of the container protects the object.',
}

const table: Readonly<Record<string, FaultRow<AzureRemedyContext>>> = {
  BlobNotFound: { code: 'NotFound' },
  ContainerNotFound: {
    code: 'BadConfig',
    remedy: ({ account, container }) =>
      `There is no container '${container}' in account '${account}': check ContainerName, or create it.`,
  },
  ...sameRow(refused, 'AuthenticationFailed', 'InvalidAuthenticationInfo'),
  ...sameRow(permission, 'AuthorizationFailure', 'AuthorizationPermissionMismatch'),
  AuthorizationProtocolMismatch: { code: 'Denied', remedy: 'The shared access signature is for https only.' },
  AuthorizationSourceIPMismatch: {
    code: 'Denied',
    remedy: "The shared access signature does not allow this machine's address.",
  },
  AuthorizationServiceMismatch: { code: 'Denied', remedy: 'The shared access signature is not for the Blob service.' },
  AuthorizationResourceTypeMismatch: {
    code: 'Denied',
    remedy: 'The shared access signature must allow resource type Object (srt=o), and Container (srt=c) to create one.',
  },
  KeyBasedAuthenticationNotPermitted: {
    code: 'Denied',
    remedy: 'The account does not allow keys: replace ConnectionString by AccountUrl, and provide an identity.',
  },
  ...sameRow({ code: 'Denied' } as const, 'InsufficientAccountPermissions', 'AccountIsDisabled'),
  InvalidResourceName: { code: 'BadConfig', remedy: ({ container }) => `'${container}' cannot be a container's name.` },
  BlobArchived: {
    code: 'Archived',
    remedy: 'The object is in the archive tier: rehydrate it first, or change AccessTier or the lifecycle rule.',
  },
  BlobBeingRehydrated: {
    code: 'Archived',
    remedy: 'The object is being rehydrated from the archive tier, which takes hours.',
  },
  ...sameRow(damaged, 'Md5Mismatch', 'InvalidMd5'),
  InvalidRange: { code: 'BadRequest' },
  ConditionNotMet: replaced,
  ...sameRow(discarded, 'InvalidBlockList', 'InvalidBlobOrBlock'),
  RequestBodyTooLarge: { code: 'TooLarge' },
  ...sameRow(kept, 'BlobImmutableDueToPolicy', 'SnapshotsPresent', 'LeaseIdMissing'),
  ...sameRow(busy, 'ContainerBeingDeleted', 'ServerBusy', 'InternalError'),
  OperationTimedOut: { code: 'Timeout' },
}

const byStatus: Readonly<Record<number, FaultRow<AzureRemedyContext>>> = {
  ...usualStatus,
  401: refused,
  403: permission,
  409: busy,
}

export function azureFault(answer: HttpRefusal, context: AzureRemedyContext): Fault {
  const { status, text, headers } = answer
  const error = xmlError(text)
  const name = String(headers['x-ms-error-code'] ?? error?.code ?? '') // an answer to HEAD has only the header
  const tier = /^(InvalidHeaderValue|AccessTierNotSupported|BlobAccessTierNotSupported)/.test(name)
  const row: FaultRow<AzureRemedyContext> | undefined =
    tier && context.accessTier !== undefined
      ? { code: 'BadConfig', remedy: `Most probably the account does not know AccessTier '${context.accessTier}'.` }
      : (rowFor(table, name) ?? byStatus[status])
  // The other lines of a message are the request's id and time. AuthenticationErrorDetail has what was signed.
  const said = error?.message.split('\n')[0]
  const own = name !== '' || isMarkedByAzure(headers)
  return faultOfRow<AzureRemedyContext>(row, [name, said].filter(Boolean).join(': '), own, answer, context)
}

/** What Azure gives each request. */
export function isMarkedByAzure(headers: Headers): boolean {
  return headers['x-ms-request-id'] !== undefined || headers['x-ms-version'] !== undefined
}

/** What is wrong with the times of a shared access signature, which it contains. */
function expired(sas: string, now = Date.now()): string | undefined {
  const parameters = new URLSearchParams(sas)
  const [start, end] = [parameters.get('st'), parameters.get('se')]
  if (end && Date.parse(end) < now) return `The shared access signature expired at ${end}: make a new one.`
  if (start && Date.parse(start) > now)
    return `The shared access signature is not valid before ${start}, or this machine's clock is wrong.`
  return undefined
}
