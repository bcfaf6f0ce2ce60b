import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, fsyncSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { Fault, isErrno } from '../fault.ts'
import { KEY_BYTES } from '../seal/keyring.ts'
import { fileFault } from './file-fault.ts'
import { warn } from './terminal.ts'

const OWNER_ONLY = 0o600
const OTHERS = 0o077

export function keygen({ out }: { out?: string }): void {
  if (out === undefined) {
    const stdout = fstatSync(1)
    if (stdout.isFile() && (stdout.mode & OTHERS) !== 0)
      warn('the key goes to a file that other users may read; use --out, or protect it with chmod 600')
    process.stdout.write(newKey())
    return
  }
  const file = create(out)
  try {
    writeSync(file, newKey())
    fsyncSync(file)
  } catch (cause) {
    unlinkSync(out) // half a key is worse than none
    throw fileFault('write', out, cause)
  } finally {
    closeSync(file)
  }
}

/** As `openssl rand -base64 32` writes it. */
function newKey(): string {
  return `${randomBytes(KEY_BYTES).toString('base64')}\n`
}

function create(path: string): number {
  try {
    return openSync(path, 'wx', OWNER_ONLY)
  } catch (cause) {
    if (isErrno(cause, 'EEXIST'))
      throw new Fault('BadRequest', `${path} exists and is left as it is`, {
        cause,
        remedy: 'Overwriting a key would lose everything that is encrypted with it: choose another name.',
      })
    throw fileFault('write', path, cause)
  }
}
