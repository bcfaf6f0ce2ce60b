import type { ShardTally } from '../bulk/work.ts'

/** What a copy has counted, of one shard or of all. */
export interface CopyTally extends ShardTally {
  /** Objects that Orthanc reads, and keys that no file of Orthanc's has: they are left alone. */
  readonly source: { readonly objects: number; readonly bytes: number; readonly strangers: number }
  readonly target: { readonly objects: number; readonly strangers: number }
  /** In this run and in those before it, as far as their shards were at their end. Bytes as they are at the target. */
  readonly copied: { readonly objects: number; readonly bytes: number }
  /** Objects that the target has like the source, by what is known of that. Each is in one of these. */
  readonly equal: {
    /** Both were read. */
    readonly bytes: number
    /** The listing of the target tells the MD5 of what the source has, or of what was sent. */
    readonly md5: number
    /** Written in this run, acknowledged with the provider's checksum, and listed with the right size after it. */
    readonly written: number
    /** They have the right size. */
    readonly size: number
  }
  /** Objects that the target does not have. In a dry run: to be copied. */
  readonly missing: number
  readonly missingBytes: number
  /** Objects at the target whose file the source does not have. */
  readonly extra: number
  /** Those of them that are younger than a day: perhaps an Orthanc writes to the target. */
  readonly youngExtra: number
  /** Objects at the target of files that the source has, under names that a copy does not write. */
  readonly otherNames: number
  /** Removed at the source while the copy ran. */
  readonly vanished: number
  /** Objects of the source that Orthanc does not read, because it reads another one of the same file first. */
  readonly doubles: number
}

export type Writable<T> = { -readonly [Name in keyof T]: T[Name] extends object ? Writable<T[Name]> : T[Name] }

export const newTally = (): Writable<CopyTally> => ({
  failures: 0,
  source: { objects: 0, bytes: 0, strangers: 0 },
  target: { objects: 0, strangers: 0 },
  copied: { objects: 0, bytes: 0 },
  equal: { bytes: 0, md5: 0, written: 0, size: 0 },
  missing: 0,
  missingBytes: 0,
  extra: 0,
  youngExtra: 0,
  otherNames: 0,
  vanished: 0,
  doubles: 0,
})
