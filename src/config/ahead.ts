import { flag, MB, whole } from './values.ts'

/** Reading ahead: docs/configuration.md. */
export interface AheadConfig {
  /** In bytes. */
  readonly memoryBytes: number
}

export const ahead = {
  ReadAhead: flag.optional(),
  ReadAheadMemory: whole(1, 65_536, 'MB').default(64),
}

interface Place {
  readonly kind: string
  readonly storageClass?: string | undefined
  readonly accessTier?: string | undefined
}

/**
 * Classes and tiers with a fee for each byte that is read, by the names that the providers give them, also those of
 * other S3 servers. What is read ahead for nothing would be paid for.
 */
const HAS_FEE = /(^|_)IA$|GLACIER|ARCHIVE|^(NEARLINE|COLDLINE|COLD|COOL|WARM|INFREQUENT)/i

/** undefined = nothing is read ahead. A directory is on a disk, or on a mount that reads ahead by itself. */
export function aheadOf(
  { ReadAhead: given, ReadAheadMemory: megabytes }: { ReadAhead?: boolean | undefined; ReadAheadMemory: number },
  { kind, storageClass, accessTier }: Place,
): AheadConfig | undefined {
  const usual = kind !== 'directory' && !HAS_FEE.test(storageClass ?? accessTier ?? '')
  return (given ?? usual) ? { memoryBytes: megabytes * MB } : undefined
}
