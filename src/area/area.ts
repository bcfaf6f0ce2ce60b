import type { Content, Range, Source } from '../bytes.ts'

/** Orthanc's content types 1, 2, 3 and all others (docs/contract.md). */
export type ContentType = 'dicom' | 'dicom-as-json' | 'dicom-until-pixel-data' | 'unknown'

/** One file of Orthanc's storage area: written once under a fresh UUID, never modified. */
export interface Attachment {
  readonly uuid: string
  readonly type: ContentType
}

/** What Orthanc's database knows of the bytes of a file. */
export interface KnownContent {
  readonly size: number
  /** In hex. Absent when Orthanc keeps none (`StoreMD5ForAttachments`). */
  readonly md5?: string
}

/** What Orthanc means by storage. Every method rejects with a `Fault` and is safe to repeat. */
export interface StorageArea {
  /** For the log: which store, and where. */
  readonly name: string
  create(attachment: Attachment, body: Source, signal: AbortSignal): Promise<void>
  read(attachment: Attachment, range: Range | undefined, signal: AbortSignal): Promise<Content>
  /**
   * Reads, and lets `use` consume the content. A digest or a tag may show at the end that the content was wrong. Then
   * the file is read again, and `use` is called once more, with everything from the first byte on.
   */
  deliver<T>(
    attachment: Attachment,
    range: Range | undefined,
    use: (content: Content) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T>
  /** Removes every key the attachment may have; absence is success. */
  remove(attachment: Attachment, signal: AbortSignal): Promise<void>
}

/** Runs work, and repeats it after a fault that another try may mend. Bounded. */
export type Again = <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>

/** The two places of a hybrid storage area (docs/contract.md), as `POST /move-storage` names them. */
export type TierName = 'file-system' | 'object-storage'

export interface Found {
  readonly key: string
  /** Of the stored bytes: with what sealing adds. */
  readonly size: number
}
