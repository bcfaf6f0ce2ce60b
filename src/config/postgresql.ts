/** The section `PostgreSQL` of Orthanc's own plugin, as far as another program needs it to read Orthanc's index. */
import { z } from 'zod'
import { isObject } from '../fault.ts'
import { bad, checked, freeze, isUnset, readJson } from './reading.ts'
import { kindOf } from './shown.ts'
import { flag, optionalText, text } from './values.ts'

export interface PostgresqlConfig {
  /** May hold a password. Where it is given, Orthanc looks at nothing else but the schema. */
  readonly uri: string | undefined
  readonly host: string
  readonly port: number
  /** undefined = the client library's default, as for Orthanc. */
  readonly database: string | undefined
  readonly user: string | undefined
  /** A secret. undefined = the environment may have one. */
  readonly password: string | undefined
  /** Encrypted, but as with Orthanc nobody looks at the certificate. */
  readonly tls: boolean
  readonly schema: string
}

const SECTION = 'PostgreSQL'
const PORT = 'a port from 1 to 65535'

const enabled = z.object({ EnableIndex: flag.default(false) })

export const postgresqlSchema = z.object({
  ...enabled.shape,
  ConnectionUri: optionalText
    .refine(uri => uri === undefined || /^postgres(ql)?:\/\//.test(uri), { error: 'a URI: postgresql://...' })
    .optional(),
  Host: optionalText.optional(),
  Port: text(PORT)
    .transform(Number)
    .refine(port => Number.isInteger(port) && port >= 1 && port <= 65_535, { error: PORT })
    .default(5432),
  Database: optionalText.optional(),
  Username: optionalText.optional(),
  Password: text().optional(),
  EnableSsl: flag.default(false),
  Schema: optionalText.optional(),
})

/**
 * `json`: Orthanc's whole configuration, normalised. undefined = Orthanc's index is not in PostgreSQL.
 * Throws `BadConfig` with one line that names the option and never shows a secret.
 */
export function parsePostgresql(json: string): PostgresqlConfig | undefined {
  const given = readJson(json)[SECTION]
  if (isUnset(given)) return undefined
  if (!isObject(given)) throw bad(`${SECTION} is ${kindOf(given)}, but must be an object`)
  const defined = Object.fromEntries(Object.entries(given).filter(([, value]) => !isUnset(value)))
  if (!checked(enabled, SECTION, defined).EnableIndex) return undefined // nor does Orthanc look at the other options
  const { ConnectionUri: uri, Host, Port: port, ...o } = checked(postgresqlSchema, SECTION, defined)
  return freeze({
    uri,
    host: Host ?? 'localhost',
    port,
    database: o.Database,
    user: o.Username,
    password: o.Password,
    tls: o.EnableSsl,
    schema: o.Schema ?? 'public',
  })
}
