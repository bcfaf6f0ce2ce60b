declare const VERSION: string | undefined

/** Filled in by the build from package.json; sources that run unbundled, as tests do, have none. */
export const version = typeof VERSION === 'string' ? VERSION : '0.0.0-source'
