/** Where a command reads Orthanc's index: in its database, or from Orthanc itself. */
import { readFileSync } from 'node:fs'
import type { HttpConfig } from '../config/config.ts'
import { Fault } from '../fault.ts'
import { HttpOrthanc } from '../orthanc-index/http-orthanc.ts'
import type { OrthancIndex } from '../orthanc-index/orthanc-index.ts'
import { PostgresqlIndex } from '../orthanc-index/postgresql.ts'
import { restIndex } from '../orthanc-index/rest.ts'
import { fileFault } from './file-fault.ts'
import { readPostgresql } from './orthanc-config.ts'
import { warn } from './terminal.ts'

export interface IndexArguments {
  /** Of Orthanc's configuration: files or folders. */
  readonly config: readonly string[]
  /** `--orthanc`: the URL of Orthanc. Then the database is not asked. */
  readonly orthanc?: string
  /** `--orthanc-user-file` */
  readonly orthancUserFile?: string
}

export interface OpenedIndex {
  readonly index: OrthancIndex
  /** The running Orthanc that was named. undefined: the index is read from the database of the configuration. */
  readonly orthanc: Pick<HttpOrthanc, 'name' | 'get'> | undefined
}

/** Connects when it is first asked. Throws a Fault that says what to give when nothing says where the index is. */
export function openIndex({ config, ...options }: IndexArguments, http: HttpConfig): OpenedIndex {
  if (options.orthanc !== undefined) {
    const asked = openOrthanc(options, http)
    return { index: restIndex(asked, asked.name, () => asked.close()), orthanc: asked }
  }
  const { orthancUserFile } = options
  if (orthancUserFile !== undefined)
    throw new Fault('BadRequest', '--orthanc-user-file is given without --orthanc', {
      remedy: 'Give the URL of Orthanc as well.',
    })
  const postgresql = readPostgresql(config)
  if (postgresql) return { index: new PostgresqlIndex(postgresql), orthanc: undefined }
  throw new Fault('BadRequest', "the configuration does not say that Orthanc's index is in PostgreSQL", {
    remedy: 'Give the URL of the running Orthanc: --orthanc http://localhost:8042.',
  })
}

/** The running Orthanc. `maxConnections`: 8, unless it is given. */
export function openOrthanc(
  { orthanc = '', orthancUserFile }: Pick<IndexArguments, 'orthanc' | 'orthancUserFile'>,
  http: HttpConfig,
  maxConnections?: number,
): HttpOrthanc {
  const user = orthancUserFile === undefined ? undefined : readUser(orthancUserFile)
  return new HttpOrthanc({ url: orthanc, user, ...http, ...(maxConnections !== undefined && { maxConnections }), warn })
}

/** A file with one line, `USER:PASSWORD`. Its content is never shown. */
function readUser(file: string): { readonly name: string; readonly password: string } {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw fileFault('read', file, error)
  }
  const [, name, password] = /^([^:\r\n]+):([^\r\n]+)\r?\n?$/.exec(text) ?? []
  if (name === undefined || password === undefined)
    throw new Fault('BadRequest', `${file} is not one line with USER:PASSWORD`)
  return { name, password }
}
