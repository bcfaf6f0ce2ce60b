/** A side of a copy, from Orthanc's configuration. */
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import type { Again } from '../area/area.ts'
import { diskNaming } from '../area/naming.ts'
import { composeDisk } from '../compose.ts'
import type { EngineConfig, HttpConfig } from '../config/config.ts'
import { identityOf } from '../config/identity.ts'
import { loadKeyring } from '../config/key-file.ts'
import type { Side } from '../copy/side.ts'
import { a1 } from '../seal/a1.ts'
import { plain } from '../seal/envelope.ts'
import { type Keyring, keyring } from '../seal/keyring.ts'
import { encryptionStateOf, envelopesOf } from '../seal/policy.ts'
import { composeGuest, type GuestOptions, limiting, silent } from './compose-guest.ts'
import { readConfig, readDisk } from './orthanc-config.ts'
import { warn } from './terminal.ts'

export interface OpenSide extends Side {
  /** Undefined: Orthanc's own disk has the files. */
  readonly config: EngineConfig | undefined
  readonly again: Again
  /** What tells the place from all others, as far as it can be known. Never a secret. */
  readonly place: string
  /** The same for two sides that may be one place by two addresses, or two mounts. */
  readonly bucket: string
  /** The same with what names and bytes of objects depend on. */
  readonly identity: string
}

/** `makes`: whether the folder or container may be made. */
export function openSide(paths: readonly string[], options: GuestOptions, makes: boolean): OpenSide {
  const config = readConfig(paths)
  const role = makes ? 'owner' : 'guest'
  if (!config) {
    const disk = readDisk(paths)
    const { store, again } = composeDisk(disk, silent, role, limiting(options))
    const place = folderAt(disk.directory)
    const side = { store, naming: diskNaming, keys: keyring(undefined, []) }
    return {
      ...side,
      envelopes: [plain],
      config,
      again,
      place,
      bucket: 'a directory',
      identity: `${place} legacy none`,
    }
  }
  const { naming, encryption, provider } = config
  const keys = encryption ? loadKeyring(encryption, warn) : keyring(undefined, [])
  const state = encryptionStateOf(encryption)
  const { store, again } = composeGuest(config, options, role)
  const place =
    provider.kind === 'directory'
      ? folderAt(join(provider.path, naming.rootPath))
      : `${identityOf(config)} ${naming.rootPath}`
  return {
    store,
    naming,
    envelopes: envelopesOf(state, 'object-storage', a1(keys)),
    keys,
    config,
    again,
    place,
    bucket: bucketOf(provider),
    identity: [place, naming.structure, state, ...(state === 'none' ? [] : [`keys ${idsOf(keys)}`])].join(' '),
  }
}

/** The current one first, if there is one. */
function idsOf({ current, ids }: Keyring): string {
  return [...new Set([...(current ? [current.id] : []), ...ids])].join(' ')
}

function bucketOf(provider: EngineConfig['provider']): string {
  if (provider.kind === 'directory') return 'a directory'
  return `${provider.kind} ${provider.kind === 'azure' ? provider.container : provider.bucket}`
}

/** Links lead to one folder by several names. */
function folderAt(path: string): string {
  try {
    return `directory ${realpathSync(path)}`
  } catch {
    return `directory ${join(path, '.').replace(/(.)\/$/, '$1')}` // it is not there yet
  }
}

export const NO_HTTP: HttpConfig = { caFile: undefined, proxy: undefined, noProxy: [] }
