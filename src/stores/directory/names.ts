/** Names that are no keys. */

/** What marks a folder of ours, see root.ts. */
export const MARKER = '.orthanc-cloud-storage'

/** Who moves files now, see lease-folder.ts. */
export const LEASE = '.orthanc-cloud-storage-moves'

/** Where the journal of removals is in Orthanc's StorageDirectory, unless the configuration says so: src/deletions. */
export const DELETIONS = 'cloud-storage-deletions'

/** A write under way: `.<name>.<random>.tmp` beside its target. What a crash leaves behind is never listed or read. */
export const TEMPORARY = /^\..*\.tmp$/

/** Only what `temporaryName` makes: the name, then a number of this process and one of the write. */
const OURS = /^\.(.+)\.[0-9a-z]{2,14}\.tmp$/

/** What the file of an unfinished write was to be called; undefined for a name that no write of ours has. */
export function targetOf(name: string): string | undefined {
  const target = OURS.exec(name)?.[1]
  return target === undefined || target === '.' || target === '..' || TEMPORARY.test(target) ? undefined : target
}

let writes = Math.floor(Math.random() * 2 ** 32)

/** A name for an unfinished write of `of`. */
export const temporaryName = (of: string) => `.${of}.${process.pid.toString(36)}${(writes++).toString(36)}.tmp`

/** Whether a name at the top of a folder is neither a stored file nor a part of one. */
export const isReserved = (name: string) =>
  name === 'lost+found' || [MARKER, LEASE, DELETIONS].includes(name) || TEMPORARY.test(name)
