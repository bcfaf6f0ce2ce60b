/** What the operating system says about a file of the command line, in the words of whoever typed its name. */
import { dirname } from 'node:path'
import { errnoOf, Fault, type FaultCode, messageWithoutPath, rowFor, sameRow } from '../fault.ts'

type Doing = 'read' | 'write'

interface Row {
  readonly code: FaultCode
  readonly words: string
  readonly remedy?: string
}

const denied: Row = { code: 'Denied', words: 'permission denied' }
const lost: Row = {
  code: 'Unavailable',
  words: 'its disk, or the way to it, fails',
  remedy: 'Check the disk or the network mount.',
}

const table: Readonly<Record<string, Row>> = {
  EACCES: denied,
  EPERM: denied,
  EROFS: { code: 'Denied', words: 'its file system is read-only', remedy: 'Choose another place.' },
  ENOENT: { code: 'BadRequest', words: 'there is no such file' },
  ENOTDIR: { code: 'BadRequest', words: 'a part of its path is a file, not a folder' },
  EISDIR: { code: 'BadRequest', words: 'it is a folder, not a file' },
  ELOOP: { code: 'BadRequest', words: 'its symbolic links lead in a circle' },
  ENAMETOOLONG: { code: 'BadRequest', words: 'its name is too long' },
  ENOSPC: { code: 'TooLarge', words: 'the disk is full', remedy: 'Make room, or choose another place.' },
  EDQUOT: { code: 'TooLarge', words: 'the quota is used up', remedy: 'Make room, or choose another place.' },
  ...sameRow(lost, 'EIO', 'ESTALE', 'ENXIO', 'ENODEV', 'ETIMEDOUT'),
}

export function fileFault(doing: Doing, path: string, cause: unknown): Fault {
  if (cause instanceof Fault) return cause
  if (path === '')
    return new Fault('BadRequest', 'the name of a file is empty', {
      cause,
      remedy: 'If it comes from a variable, that has no value.',
    })
  const row = rowFor(table, errnoOf(cause))
  const { words, remedy } = row ? inPlace(row, doing, path, errnoOf(cause)) : { words: messageWithoutPath(cause) }
  return new Fault(row?.code ?? 'BadRequest', `cannot ${doing} ${path}: ${words}`, { cause, remedy })
}

function inPlace(row: Row, doing: Doing, path: string, errno: string): Row {
  if (row === denied)
    return { ...row, remedy: `Run the command as a user who may ${doing === 'read' ? 'read it' : 'write there'}.` }
  if (errno === 'ENOENT' && doing === 'write')
    return { ...row, words: `there is no folder ${dirname(path)}`, remedy: 'Make it, or choose another place.' }
  return row
}
