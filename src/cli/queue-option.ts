/** `--queue`: the database in which many processes share the work. */
import { InvalidArgumentError, Option } from 'commander'
import { Fault } from '../fault.ts'
import { type Settings, settingsOf, settingsOfUri } from '../orthanc-index/postgresql-session.ts'
import { readPostgresql } from './orthanc-config.ts'

/** Where Orthanc's index is. */
const INDEX = 'index'

/** For a command of bulk work. */
export const queueOption = (
  description = 'share the work with all machines that run this command, over a database: postgres://USER@HOST/DATABASE, or index for that of Orthanc',
) => new Option('--queue <URL>', description).argParser(queueUrl)

/** Every user of a machine can read the arguments of its processes. The message never shows the URL. */
export function queueUrl(text: string): string {
  if (text === INDEX) return text
  if (!/^postgres(ql)?:\/\//i.test(text))
    throw new InvalidArgumentError('It is postgres://USER@HOST/DATABASE, or "index" for the database of Orthanc.')
  if (holdsPassword(text))
    throw new InvalidArgumentError(
      'It holds a password, which every user of this machine could read. Give it in PGPASSWORD or in the file PGPASSFILE.',
    )
  return text
}

function holdsPassword(url: string): boolean {
  const [place = '', ...options] = url.split('?')
  const user = place.slice(place.indexOf('//') + 2, Math.max(place.lastIndexOf('@'), 0))
  const names = [...new URLSearchParams(options.join('?')).keys()]
  return /:./s.test(user) || names.some(name => /password/i.test(name))
}

/** Throws a Fault. `config`: files of Orthanc's configuration, for `index`. */
export function queueSettings(queue: string, config: readonly string[] | undefined): Settings {
  if (queue !== INDEX) return settingsOfUri(queue, '--queue')
  const postgresql = config && readPostgresql(config)
  if (postgresql) return settingsOf(postgresql)
  throw new Fault(
    'BadRequest',
    config
      ? "--queue index: the configuration does not say that Orthanc's index is in PostgreSQL"
      : "--queue index: this needs Orthanc's configuration",
    {
      remedy: `${config ? 'Give' : 'Give it with --config, or give'} the URL of a database: --queue postgres://USER@HOST/DATABASE.`,
    },
  )
}
