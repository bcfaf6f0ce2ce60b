/**
 * A PostgreSQL of our own on 127.0.0.1, without passwords, from Debian's package `postgresql`. What is stored is lost
 * when it stops. PostgreSQL refuses to run as root: then it runs as the user `postgres` of that package.
 */
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { freePort, type Running, startChild } from './child.ts'
import { run } from './run.ts'

const INSTALLED = '/usr/lib/postgresql'

export interface PostgreSql extends Running {
  readonly port: number
  readonly user: string
  /** A new, empty database of this name. */
  makeDatabase(name: string): Promise<void>
}

/** Why it cannot be started here, or undefined when it can. */
export function whyNoPostgresql(): string | undefined {
  if (programs() === undefined) return 'it is not installed: apt-get install postgresql'
  return undefined
}

/** The folder of the newest version. */
function programs(): string | undefined {
  const versions = existsSync(INSTALLED) ? readdirSync(INSTALLED) : []
  const newest = versions.toSorted((a, b) => Number(b) - Number(a)).find(has => existsSync(join(INSTALLED, has, 'bin')))
  return newest && join(INSTALLED, newest, 'bin')
}

export async function startPostgresql(): Promise<PostgreSql> {
  const bin = programs()
  if (bin === undefined) throw new Error(`PostgreSQL cannot be started: ${whyNoPostgresql()}`)
  const asRoot = process.getuid?.() === 0
  const user = asRoot ? 'postgres' : userInfo().username
  const command = (program: string, args: readonly string[]): [string, ...string[]] =>
    asRoot
      ? ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups', join(bin, program), ...args]
      : [join(bin, program), ...args]
  const tool = async (program: string, ...args: string[]) => {
    const [first, ...rest] = command(program, args)
    return await run(first, rest, { cwd: '/' })
  }

  const folder = mkdtempSync(join(tmpdir(), 'ocs-postgresql-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  try {
    if (asRoot) {
      const ids = ['-u', '-g'].map(async which => Number(await run('id', [which, user])))
      const [uid = 0, gid = 0] = await Promise.all(ids)
      chownSync(folder, uid, gid)
    }
    const data = join(folder, 'data')
    await tool('initdb', '--auth=trust', `--username=${user}`, '--encoding=UTF8', '--no-sync', '--pgdata', data)
    const port = await freePort()
    const at = ['--host=127.0.0.1', `--port=${port}`, `--username=${user}`]
    const settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: '', fsync: 'off' }
    const [first, ...rest] = command('postgres', [
      '-D',
      data,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ])
    const { stop } = await startChild(first, rest, {
      log: join(folder, 'postgresql.log'),
      ready: () => tool('pg_isready', ...at),
    })
    return {
      port,
      user,
      makeDatabase: async name => void (await tool('createdb', ...at, name)),
      async stop() {
        await stop()
        remove()
      },
    }
  } catch (error) {
    remove()
    throw error
  }
}

/** What makes Orthanc keep its index in a database there, with other Orthancs. */
export function indexIn({ port, user }: PostgreSql, database: string): Readonly<Record<string, unknown>> {
  return {
    EnableIndex: true,
    EnableStorage: false,
    Host: '127.0.0.1',
    Port: port,
    Database: database,
    Username: user,
    Password: '',
    Lock: false, // else only one Orthanc may use the database
    IndexConnectionsCount: 5,
  }
}

/** Where Debian puts the plugin. */
export const POSTGRESQL_INDEX = '/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so'
