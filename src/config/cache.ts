import { isAbsolute, join, resolve } from 'node:path'
import { z } from 'zod'
import { bad, section } from './reading.ts'
import { flag, MB, requiredText, whole } from './values.ts'

/** `CloudStorage.Cache`: docs/cache.md. */
export interface CacheConfig {
  readonly path: string
  readonly maxBytes: number
  readonly maxAgeMs: number
  readonly onWrite: boolean
  /** Folders of files that a cache must be neither in nor around, with the options that name them. */
  readonly apart: readonly { readonly option: string; readonly path: string }[]
}

const DAY_MS = 24 * 3_600_000

export const cacheSchema = z.object({
  Path: requiredText('an absolute path').refine(isAbsolute, { error: 'an absolute path' }),
  MaxSize: whole(1, 1024 ** 3, 'MB').default(10_240),
  MaxDays: whole(1, 36_500, 'days').default(30),
  OnWrite: flag.default(true),
})

/** Orthanc's own default, which its configuration does not show. */
const DEFAULT_DIRECTORY = 'OrthancStorage'

/**
 * `value`: of the option; undefined = no cache. `folders`: the options that name folders of files; `StorageDirectory`
 * has a default. `base`: where relative paths begin, if that is known.
 */
export function readCache(
  value: unknown,
  folders: Readonly<Record<string, string | undefined>>,
  base: string | undefined,
  warnings: string[],
): CacheConfig | undefined {
  if (value === undefined) return undefined
  const o = section(cacheSchema, 'CloudStorage.Cache', value, warnings)
  const apart = Object.entries(folders).flatMap(([option, given]) => {
    const path = given ?? (option === 'StorageDirectory' ? DEFAULT_DIRECTORY : undefined)
    if (path === undefined || (!isAbsolute(path) && base === undefined)) return []
    return [{ option, path: isAbsolute(path) ? path : join(base ?? '/', path) }]
  })
  // Links are followed at start. This much is seen by the paths alone, also by the command line.
  for (const { option, path } of apart)
    if (isWithin(o.Path, path) || isWithin(path, o.Path))
      throw bad(`CloudStorage.Cache.Path is ${o.Path}, but ${option} is ${path}: give the cache a folder outside of it`)
  return {
    path: o.Path,
    maxBytes: o.MaxSize * MB,
    maxAgeMs: o.MaxDays * DAY_MS,
    onWrite: o.OnWrite,
    apart,
  }
}

const isWithin = (path: string, folder: string) => `${resolve(path)}/`.startsWith(`${resolve(folder)}/`)
