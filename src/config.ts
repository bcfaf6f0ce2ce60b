import { isAbsolute } from 'node:path'
import { closest, distance } from 'fastest-levenshtein'
import { z } from 'zod'
import { Fault } from './fault.ts'

/** The engine's whole configuration: parsed once, frozen, in base units. */
export interface EngineConfig {
  readonly provider: S3Config | DirectoryConfig
  readonly naming: NamingConfig
  readonly http: HttpConfig
  readonly startupCheck: boolean
}

/** SPEC section 3. */
export interface NamingConfig {
  readonly rootPath: string
  readonly structure: 'flat' | 'legacy'
  readonly legacyUnknownFiles: boolean
}

/** Orthanc's own options for outgoing HTTP. */
export interface HttpConfig {
  readonly caFile: string | undefined
  /** May hold a password: never log it. */
  readonly proxy: string | undefined
}

export interface DirectoryConfig {
  readonly kind: 'directory'
  readonly path: string
}

export interface S3Config {
  readonly kind: 's3'
  readonly bucket: string
  readonly region: string
  /** undefined = AWS's default credential chain. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined
  /** Scheme included; undefined = AWS. */
  readonly endpoint: string | undefined
  readonly virtualAddressing: boolean
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly maxConnections: number
  readonly maxRetries: number
  readonly transfer: { readonly concurrency: number; readonly partBytes: number } | undefined
  readonly storageClass: string | undefined
  readonly tags: Readonly<Record<string, string>>
  readonly logRequests: boolean
}

export interface Parsed {
  /** undefined = no section of ours is there: the plugin is disabled. */
  readonly config: EngineConfig | undefined
  /** One line each, for the log at WARNING. */
  readonly warnings: readonly string[]
}

const MB = 1024 * 1024
const UNSET_BY_IMAGE = 'MUST BE DEFINED BY YOU' // what the usual Docker image fills in for a required option

/**
 * Values of the usual Docker image come from environment variables through a JSON parser (SPEC section 2): numbers and
 * booleans stand where strings are meant, and the reverse. Each message is the end of the sentence "... is X, but must be".
 */
const text = (error = 'a string') =>
  z.union([z.string(), z.number(), z.boolean()], { error }).transform(value => String(value))
const requiredText = (what: string) =>
  text(what)
    .transform(value => value.trim())
    .refine(value => value !== '' && value !== UNSET_BY_IMAGE, { error: what })
const optionalText = text().transform(value => (value.trim() === '' ? undefined : value.trim()))
const flag = z
  .union([z.boolean(), z.enum(['true', 'false'])], { error: 'true or false' })
  .transform(value => value === true || value === 'true')
const whole = (min: number, max: number, unit: string) => {
  const error = `a whole number of ${unit} from ${min} to ${max}`
  return z
    .union([z.number(), z.string().regex(/^\d+$/)], { error })
    .transform(Number)
    .refine(value => Number.isInteger(value) && value >= min && value <= max, { error })
}
const oneOf = <const T extends readonly string[]>(...values: T) =>
  z.enum(values, { error: values.map(value => `"${value}"`).join(' or ') })

const rootPath = text().refine(path => path === '' || path.split('/').every(s => s !== '' && s !== '.' && s !== '..'), {
  error: 'a path such as "orthanc/files": not beginning or ending with "/", without empty, "." or ".." parts',
})
const endpoint = text()
  .transform(value => value.trim())
  .transform(value => (value === '' || /^[a-z]+:\/\//i.test(value) ? value : `https://${value}`))
  .refine(value => value === '' || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)), {
    error: 'a host name or an http(s) URL',
  })
const tags = z
  .record(
    z.string().min(1).max(128),
    text().refine(value => value.length <= 256),
    { error: 'an object of strings' },
  )
  .refine(value => Object.keys(value).length <= 10, {
    error: 'at most 10 tags, names up to 128 and values up to 256 characters',
  })

const common = {
  RootPath: rootPath.default(''),
  StorageStructure: oneOf('flat', 'legacy').default('flat'),
  EnableLegacyUnknownFiles: flag.default(false),
  HybridMode: oneOf('Disabled', 'WriteToFileSystem', 'WriteToObjectStorage').default('Disabled'),
  MigrationFromFileSystemEnabled: flag.default(false),
  StorageEncryption: z.record(z.string(), z.unknown(), { error: 'an object' }).optional(),
}

const sections = {
  AwsS3Storage: z.object({
    BucketName: requiredText("the bucket's name"),
    Region: requiredText("the bucket's region, such as eu-west-1"),
    AccessKey: optionalText.optional(),
    SecretKey: optionalText.optional(),
    Endpoint: endpoint.default(''),
    ConnectionTimeout: whole(1, 3600, 'seconds').default(30),
    RequestTimeout: whole(1, 86_400, 'seconds').default(1200),
    MaxConnections: whole(1, 1000, 'connections').default(25),
    MaxRetries: whole(0, 100, 'retries').default(10),
    VirtualAddressing: flag.default(true),
    UseTransferManager: flag.default(false),
    TransferPoolSize: whole(1, 100, 'parts').default(10),
    TransferBufferSize: whole(5, 1024, 'MB').default(5),
    StorageClass: optionalText.optional(),
    Tags: tags.default({}),
    EnableAwsSdkLogs: flag.default(false),
    ...common,
  }),
  DirectoryStorage: z.object({
    Path: requiredText('an absolute path').refine(isAbsolute, { error: 'an absolute path' }),
    ...common,
  }),
  CloudStorage: z.object({
    Engine: text().optional(),
    Node: text().optional(),
    StartupCheck: flag.default(true),
  }),
}
const orthanc = z.object({ HttpsCACertificates: optionalText.optional(), HttpProxy: optionalText.optional() })

const notYet = ['AzureBlobStorage', 'BlobStorage', 'GoogleCloudStorage']
const providers = ['AwsS3Storage', 'DirectoryStorage', ...notYet]
const aliases: Readonly<Record<string, string>> = { ConnectTimeout: 'ConnectionTimeout' }
const secrets = /Key$|Proxy$|ConnectionString$/

/** `json`: Orthanc's whole configuration, normalised, without comments. Throws `BadConfig` with one line (SPEC section 2). */
export function parseConfig(json: string): Parsed {
  const root = readJson(json)
  const warnings = [...unknownSections(root)]
  const present = providers.filter(name => root[name] !== undefined)
  if (present.length === 0) return freeze({ config: undefined, warnings })
  if (present.length > 1)
    throw bad(`the sections ${present.join(' and ')} are both there, but only one provider can store the files`)
  const [name = ''] = present
  if (notYet.includes(name)) throw bad(`${name} is not yet supported by this version`)

  const cloud = section(sections.CloudStorage, 'CloudStorage', root['CloudStorage'] ?? {}, warnings)
  const { HttpsCACertificates: caFile, HttpProxy: proxy } = checked(orthanc, '', root)
  if (root['HttpsVerifyPeers'] === false)
    warnings.push('HttpsVerifyPeers is false, but the certificate of the object storage is verified all the same')
  const [provider, shared] =
    name === 'AwsS3Storage'
      ? s3(section(sections.AwsS3Storage, name, root[name], warnings))
      : directory(section(sections.DirectoryStorage, name, root[name], warnings))
  return freeze({
    config: {
      provider,
      naming: namingOf(name, shared, warnings),
      http: { caFile, proxy },
      startupCheck: cloud.StartupCheck,
    },
    warnings,
  })
}

type Common = z.output<z.ZodObject<typeof common>>

function s3(o: z.output<typeof sections.AwsS3Storage>): [S3Config, Common] {
  if ((o.AccessKey === undefined) !== (o.SecretKey === undefined))
    throw bad('AwsS3Storage has only one of AccessKey and SecretKey; give both, or neither for the default credentials')
  const credentials =
    o.AccessKey && o.SecretKey ? { accessKeyId: o.AccessKey, secretAccessKey: o.SecretKey } : undefined
  const provider: S3Config = {
    kind: 's3',
    bucket: o.BucketName,
    region: o.Region,
    credentials,
    endpoint: o.Endpoint === '' ? undefined : o.Endpoint,
    virtualAddressing: o.VirtualAddressing,
    connectTimeoutMs: o.ConnectionTimeout * 1000,
    requestTimeoutMs: o.RequestTimeout * 1000,
    maxConnections: o.MaxConnections,
    maxRetries: o.MaxRetries,
    transfer: o.UseTransferManager
      ? { concurrency: o.TransferPoolSize, partBytes: o.TransferBufferSize * MB }
      : undefined,
    storageClass: o.StorageClass,
    tags: o.Tags,
    logRequests: o.EnableAwsSdkLogs,
  }
  return [provider, o]
}

function directory(o: z.output<typeof sections.DirectoryStorage>): [DirectoryConfig, Common] {
  return [{ kind: 'directory', path: o.Path }, o]
}

function namingOf(name: string, o: Common, warnings: string[]): NamingConfig {
  if (o.HybridMode !== 'Disabled' || o.MigrationFromFileSystemEnabled)
    throw bad(`${name}.HybridMode: hybrid modes are not yet supported by this version`)
  const { StorageEncryption: encryption } = o
  if (encryption) {
    const off =
      Object.keys(encryption).length === 0 || encryption['Enable'] === false || encryption['Enable'] === 'false'
    if (!off) throw bad(`${name}.StorageEncryption: encryption is not yet supported by this version`)
    warnings.push(`${name}.StorageEncryption is empty or not enabled: files are stored without client-side encryption`)
  }
  return { rootPath: o.RootPath, structure: o.StorageStructure, legacyUnknownFiles: o.EnableLegacyUnknownFiles }
}

function bad(message: string): Fault {
  return new Fault('BadConfig', message)
}

/** Numbers that a JavaScript number cannot hold exactly, such as a secret of 20 digits, are kept as they are written. */
function readJson(json: string): Record<string, unknown> {
  let root: unknown
  try {
    root = JSON.parse(json, (_name, value, context?: { source?: string }) =>
      typeof value === 'number' && context?.source !== undefined && String(value) !== context.source
        ? Number.isSafeInteger(value)
          ? value
          : context.source
        : value,
    )
  } catch (cause) {
    throw new Fault('BadConfig', "Orthanc's configuration is not JSON", { cause })
  }
  if (!isObject(root)) throw bad("Orthanc's configuration is not a JSON object")
  return root
}

/** Checks one section, after its aliases were renamed and its unknown options warned of. */
function section<T extends z.ZodObject>(schema: T, name: string, value: unknown, warnings: string[]): z.output<T> {
  if (!isObject(value)) throw bad(`${name} is ${shown(name, value)}, but must be an object`)
  const options: Record<string, unknown> = {}
  const known = Object.keys(schema.shape)
  for (const [given, content] of Object.entries(value)) {
    const alias = aliases[given]
    const option = alias && known.includes(alias) && value[alias] === undefined ? alias : given
    if (known.includes(option)) options[option] = content
    else warnings.push(`${name}.${given} is not an option of this plugin and is ignored${nearest(given, known)}`)
  }
  return checked(schema, name, options)
}

function checked<T extends z.ZodObject>(schema: T, name: string, value: Record<string, unknown>): z.output<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = [name, ...(issue?.path ?? [])].filter(part => part !== '').join('.')
  const given = (issue?.path ?? []).reduce<unknown>((at, part) => (isObject(at) ? at[String(part)] : undefined), value)
  if (given === undefined) throw bad(`${path} is missing; it must be ${issue?.message}`)
  const values = issue?.code === 'invalid_value' ? issue.values.map(String) : []
  throw bad(`${path} is ${shown(path, given)}, but must be ${issue?.message}${nearest(String(given), values)}`)
}

function* unknownSections(root: Record<string, unknown>): Iterable<string> {
  const ours = [...providers, 'CloudStorage']
  for (const given of Object.keys(root)) {
    const near = closest(
      given.trim().toLowerCase(),
      ours.map(name => name.toLowerCase()),
    )
    const right = ours.find(name => name.toLowerCase() === near)
    if (right && !ours.includes(given) && distance(given.trim().toLowerCase(), near) <= 2)
      yield `the section "${given}" is ignored; did you mean "${right}"?`
  }
}

function nearest(given: string, known: readonly string[]): string {
  if (known.length === 0) return ''
  const near = closest(given, known)
  return distance(given.toLowerCase(), near.toLowerCase()) <= Math.max(2, near.length / 3)
    ? `; did you mean ${near}?`
    : ''
}

/** A value as a message may show it: never a secret, never long. */
function shown(path: string, value: unknown): string {
  if (secrets.test(path)) return 'a secret that is not shown'
  const json = JSON.stringify(value) ?? 'nothing'
  return json.length > 100 ? `${json.slice(0, 100)}...` : json
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) freeze(member)
    Object.freeze(value)
  }
  return value
}
