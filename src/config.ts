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
