import { Fault } from '../fault.ts'
import type { Attachment, ContentType } from './area.ts'

/** What names objects: docs/contract.md, "Object keys". config.ts has checked it. */
export interface Naming {
  readonly rootPath: string
  readonly structure: 'flat' | 'legacy'
  readonly legacyUnknownFiles: boolean
}

/** Orthanc's own layout below `StorageDirectory`, whatever the provider's section says. */
export const diskNaming: Naming = { rootPath: '', structure: 'legacy', legacyUnknownFiles: false }

const extensions: Readonly<Record<ContentType, string>> = {
  dicom: '.dcm',
  'dicom-as-json': '.json',
  'dicom-until-pixel-data': '.dcm.head',
  unknown: '.unk',
}

/** Orthanc's UUIDs. Anything else could bring a folder into a key. */
const UUID = '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'
const IS_UUID = new RegExp(`^${UUID}$`)
const FLAT = new RegExp(`^(${UUID})(${Object.values(extensions).join('|').replaceAll('.', '\\.')})(\\.enc)?$`)
const LEGACY = new RegExp(`/(${UUID})$`)

export const prefixOf = ({ rootPath }: Naming): string => (rootPath === '' ? '' : `${rootPath}/`)
/** Where objects go that were put aside. Nothing that Orthanc reads has such a key. */
export const trashPrefixOf = (naming: Naming): string => `${prefixOf(naming)}cloud-storage-trash/`
/** In the trash, a key keeps its name: only the root path comes before the trash. */
export const trashKeyOf = (naming: Naming, key: string): string =>
  `${trashPrefixOf(naming)}${key.slice(prefixOf(naming).length)}`
/** The key that an object of the trash had. Undefined for a key that trashKeyOf() does not make of one of our keys. */
export function keyFromTrash(naming: Naming, key: string): string | undefined {
  const trash = trashPrefixOf(naming)
  const was = `${prefixOf(naming)}${key.slice(trash.length)}`
  return key.startsWith(trash) && parseKey(naming, was) ? was : undefined
}
const legacyName = (uuid: string) => `${uuid.slice(0, 2)}/${uuid.slice(2, 4)}/${uuid}`

/** The key an attachment is written under, then the older keys it may be found under. */
export function keysOf(
  naming: Naming,
  suffix: '' | '.enc',
  { uuid, type }: Attachment,
): readonly [string, ...string[]] {
  if (!IS_UUID.test(uuid)) throw new Fault('BadRequest', 'Orthanc named a file by something that is not a UUID')
  const root = prefixOf(naming)
  if (naming.structure === 'legacy') return [`${root}${legacyName(uuid)}`]
  const flat = (kind: ContentType) => `${root}${uuid}${extensions[kind]}${suffix}`
  return type === 'dicom-until-pixel-data' && naming.legacyUnknownFiles ? [flat(type), flat('unknown')] : [flat(type)]
}

const typeOf = new Map(Object.entries(extensions).map(([type, extension]) => [extension, type as ContentType]))

export interface ParsedKey {
  readonly uuid: string
  /** undefined where the name does not say it: in the `legacy` structure. */
  readonly type: ContentType | undefined
  /** undefined where the name does not say it: in the `legacy` structure. */
  readonly sealed: boolean | undefined
}

/** The reverse of keysOf(). Undefined for a key that it does not make. */
export function parseKey(naming: Naming, key: string): ParsedKey | undefined {
  const prefix = prefixOf(naming)
  if (!key.startsWith(prefix)) return undefined
  const name = key.slice(prefix.length)
  const [, uuid, extension, suffix] = (naming.structure === 'legacy' ? LEGACY : FLAT).exec(name) ?? []
  if (uuid === undefined) return undefined
  if (naming.structure === 'legacy')
    return name === legacyName(uuid) ? { uuid, type: undefined, sealed: undefined } : undefined
  return { uuid, type: typeOf.get(extension ?? ''), sealed: suffix !== undefined }
}
