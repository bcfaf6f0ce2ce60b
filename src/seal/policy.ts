/** Which envelopes objects are written and read in: one table, which shows that nothing is plain by accident. */
import { type Envelope, plain } from './envelope.ts'

/**
 * What the configuration says of encryption. `ended`: `Enable` is false, but there are keys for what was sealed before.
 */
export type Encryption = 'none' | 'on' | 'on, and plain objects are read' | 'ended'

type Name = 'plain' | 'sealed'

/** The first is written; all are read, in this order. */
const policy: Readonly<
  Record<Encryption, Readonly<Record<'object-storage' | 'file-system', readonly [Name, ...Name[]]>>>
> = {
  none: { 'object-storage': ['plain'], 'file-system': ['plain'] },
  // Orthanc's own disk is trusted, and has plain files from before encryption: there the bytes show which is which.
  on: { 'object-storage': ['sealed'], 'file-system': ['sealed', 'plain'] },
  'on, and plain objects are read': { 'object-storage': ['sealed', 'plain'], 'file-system': ['sealed', 'plain'] },
  ended: { 'object-storage': ['plain', 'sealed'], 'file-system': ['plain', 'sealed'] },
}

export function encryptionStateOf(
  configured: { readonly enabled: boolean; readonly allowUnencryptedRead: boolean } | undefined,
): Encryption {
  if (!configured) return 'none'
  if (!configured.enabled) return 'ended'
  return configured.allowUnencryptedRead ? 'on, and plain objects are read' : 'on'
}

/** `sealed`: the envelope that encrypts. */
export function envelopesOf(
  encryption: Encryption,
  tier: keyof (typeof policy)[Encryption],
  sealed: Envelope,
): readonly [Envelope, ...Envelope[]] {
  const envelopes = { plain, sealed }
  const [written, ...others] = policy[encryption][tier]
  return [envelopes[written], ...others.map(name => envelopes[name])]
}
