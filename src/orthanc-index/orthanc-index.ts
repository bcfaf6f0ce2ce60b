import type { ContentType } from '../area/area.ts'

/** One attachment, as Orthanc's index has it. */
export interface Indexed {
  readonly uuid: string
  readonly type: ContentType
  /** Bytes as Orthanc gave them to the storage: it may have compressed them. Before they are sealed. */
  readonly size: number
  /** Of these bytes, in lower-case hex. Undefined where Orthanc keeps none (`StoreMD5ForAttachments`). */
  readonly md5: string | undefined
}

export interface OrthancIndex {
  /** For people, such as `PostgreSQL database orthanc on db:5432` or `Orthanc at http://host:8042`. Never a secret. */
  readonly name: string
  /**
   * Every attachment of all four levels, in batches, each at least once. What is stored or removed meanwhile may be
   * there or not. Rejects when the index could not be read to its end: an index that was read in part proves nothing.
   */
  all(signal: AbortSignal): AsyncIterable<readonly Indexed[]>
  /** Those of these that the index has now. */
  find(uuids: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlyMap<string, Indexed>>
  close(): Promise<void>
}
