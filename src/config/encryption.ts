import { z } from 'zod'
import { Fault, isObject } from '../fault.ts'
import { bad, meansEncryption, section } from './reading.ts'
import { quoted } from './shown.ts'
import { flag, isKey, MB, text, whole } from './values.ts'

/** `StorageEncryption`: docs/encryption.md. */
export interface EncryptionConfig {
  /** false = keys are there to read what was sealed, but new objects are written plain. */
  readonly enabled: boolean
  readonly masterKey: KeyFile | undefined
  readonly previousMasterKeys: readonly KeyFile[]
  readonly budgetBytes: number
  readonly allowUnencryptedRead: boolean
  readonly rangeReads: boolean
}

/** Where a master key is, not the key. */
export interface KeyFile {
  /** uint32 */
  readonly id: number
  readonly path: string
  /** The option that names it, for messages. */
  readonly option: string
}

const UINT32_MAX = 2 ** 32 - 1
const PAIR = '[id, "path of the key file"], with an id from 0 to 4294967295'

const keyFile = z.tuple(
  [
    z
      .union([z.number(), z.string().regex(/^\d+$/, { error: PAIR })], { error: PAIR })
      .transform(Number)
      .refine(id => Number.isInteger(id) && id >= 0 && id <= UINT32_MAX, { error: PAIR }),
    text(PAIR)
      .transform(path => path.trim())
      .refine(path => path !== '', { error: PAIR }),
  ],
  { error: PAIR },
)

export const encryptionSchema = z.object({
  Enable: flag.default(true),
  MasterKey: keyFile.optional(),
  PreviousMasterKeys: z.array(keyFile, { error: `an array of ${PAIR}` }).default([]),
  MaxConcurrentInputSize: whole(1, 1024 * 1024, 'MB').default(1024),
  AllowUnencryptedRead: flag.default(false),
  RangeReads: flag.default(false),
})

/** `name`: of the provider's section. undefined = no encryption, nothing sealed to read. */
export function readEncryption(name: string, value: unknown, warnings: string[]): EncryptionConfig | undefined {
  if (value === undefined) return undefined
  const path = `${name}.StorageEncryption`
  if (isObject(value) && Object.keys(value).length === 0) {
    warnings.push(`${path} is empty: files are stored without client-side encryption`)
    return undefined
  }
  try {
    return read(path, value, warnings)
  } catch (error) {
    // The official plugin then ignores the rest. The keys of an example need not exist.
    if (!(isObject(value) && flag.safeParse(value['Enable']).data === false)) throw error
    warnings.push(`${Fault.from(error).message}. As Enable is false, the rest of ${path} is ignored`)
    return undefined
  }
}

/** Refuses StorageEncryption in a wrong place: files would be stored plain. `name`: of the provider's section. */
export function refuseMisplaced(root: Record<string, unknown>, name: string): void {
  for (const [above, section] of [
    ['', root],
    ['CloudStorage.', root['CloudStorage']],
  ] as const)
    for (const given of isObject(section) ? Object.keys(section) : [])
      if (meansEncryption(given))
        throw bad(`${above}${quoted(given)} is in the wrong place: StorageEncryption belongs in the section "${name}"`)
}

function read(path: string, value: unknown, warnings: string[]): EncryptionConfig | undefined {
  const o = section(encryptionSchema, path, value, warnings)
  const masterKey = o.MasterKey && fileOf(o.MasterKey, `${path}.MasterKey`)
  const previous = o.PreviousMasterKeys.map((pair, i) => fileOf(pair, `${path}.PreviousMasterKeys[${i}]`))
  const keys = masterKey ? [masterKey, ...previous] : previous
  const twice = keys.find((key, i) => keys.findIndex(other => other.id === key.id) < i)
  if (twice) throw bad(`${twice.option} has the id ${twice.id}, which another key has, too: each key needs its own id`)
  if (o.Enable && !masterKey) throw bad(`${path}.MasterKey is missing; it must be ${PAIR}`)
  if (!o.Enable) warnings.push(disabled(path, keys))
  if (keys.length === 0) return undefined
  return {
    enabled: o.Enable,
    masterKey,
    previousMasterKeys: previous,
    budgetBytes: o.MaxConcurrentInputSize * MB,
    allowUnencryptedRead: o.AllowUnencryptedRead,
    rangeReads: o.RangeReads,
  }
}

function disabled(path: string, keys: readonly KeyFile[]): string {
  const old = keys.length > 0 ? '; what was encrypted before can still be read' : ''
  return `${path}.Enable is false: files are stored without client-side encryption${old}`
}

function fileOf([id, path]: z.output<typeof keyFile>, option: string): KeyFile {
  // If somebody writes the key itself there, it must not appear in a log.
  if (isKey(path)) throw bad(`${option} holds a key; it must be [id, "path of the file that holds the key"]`)
  return { id, path, option }
}
