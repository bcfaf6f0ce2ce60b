/**
 * Removals that do not wait for the store: noted in a journal on this machine's disk, answered, and sent later in
 * batches (sender.ts). The journal may hold entries of other stores, from before a change of the configuration: they
 * stay, and nothing is sent to this store for them.
 */
import { Fault } from '../fault.ts'
import { Disk } from '../stores/directory/disk.ts'
import { withFaults } from '../stores/directory/faults.ts'
import type { Removals, Store } from '../stores/store.ts'
import { unlessAborted } from '../stores/unless-aborted.ts'
import type { StoreEntries } from './entries.ts'
import { type Found, prepareFolder, readJournal, unusable } from './folder.ts'
import { Journal, type JournalOptions } from './journal.ts'
import { FolderLock, type LockOptions } from './lock.ts'
import { Sender, type SenderOptions } from './sender.ts'

export interface DeletionsOptions {
  readonly folder: string
  /** Whether the folders above may be made. */
  readonly makeAbove: boolean
  /** Which store the entries are of: provider, place and bucket, without secrets. */
  readonly identity: string
  readonly log: { info(line: string): void; warn(line: string): void }
  /** With more entries, removals are direct. */
  readonly most?: number
  readonly lock?: Partial<LockOptions>
  readonly journal?: Pick<JournalOptions, 'segmentBytes' | 'slackBytes'>
  readonly sender?: Partial<SenderOptions>
}

export interface DeletionsStatus {
  readonly pending: number
  /** Age of the oldest pending removal, in milliseconds. */
  readonly oldestMs: number
  readonly findings: number
}

const MOST_ENTRIES = 1_000_000
/** An engine that stops sends what is left for so long. The next one may come before it has ended. */
const WAIT_FOR_LOCK_MS = 20_000

/** The journal needs few, and the disks of a store and of a hybrid mode share the others. */
const THREADS = 3

const nothing: StoreEntries = { pending: new Map(), findings: new Map() }

export class Deletions {
  readonly #options: DeletionsOptions
  readonly #disk: Disk
  #open: { readonly journal: Journal; readonly sender: Sender; readonly lock: FolderLock } | undefined
  readonly #noting = new Map<string, Promise<boolean>>()
  #saidFull = false

  constructor(options: DeletionsOptions) {
    this.#options = options
    this.#disk = new Disk(options.folder, { threads: THREADS })
  }

  /** How many entries a folder has, whoever uses it. 0 as well when it cannot be read. */
  static async left(folder: string): Promise<number> {
    const found = await Deletions.look(folder).catch(() => undefined)
    return found?.entries.size ?? 0
  }

  /** Everything that a folder has, whoever uses it. Changes nothing. */
  static look(folder: string): Promise<Found> {
    return withFaults(folder, () => readJournal(new Disk(folder), folder))
  }

  /**
   * Takes the journal over from whoever used it before. Rejects when it cannot be used, but not in an engine that
   * follows a dead one: without it, Orthanc could read nothing.
   */
  async open(store: Pick<Store, 'name' | 'removeMany'>, isFirst = true): Promise<void> {
    await this.#takeOver(store).catch(error => {
      if (isFirst) throw error
      this.#options.log.warn(
        `removals are direct, and what the journal holds waits until Orthanc starts again: ${Fault.from(error).describe()}`,
      )
    })
  }

  async #takeOver(store: Pick<Store, 'name' | 'removeMany'>): Promise<void> {
    const { folder, makeAbove, log, identity } = this.#options
    const { warn } = log
    await prepareFolder(this.#disk, folder, makeAbove)
    const lockOptions = { waitMs: WAIT_FOR_LOCK_MS, warn, ...this.#options.lock }
    const lock = await FolderLock.take(this.#disk, folder, lockOptions).catch(error => {
      throw unusable(folder, error)
    })
    try {
      const found = await readJournal(this.#disk, folder)
      for (const line of found.warnings) warn(line)
      const journal = new Journal({
        disk: this.#disk,
        folder,
        lock,
        found,
        ...this.#options.journal,
        warn,
        lost: () => this.#lose(),
      })
      const sender = new Sender(store, journal, identity, { ...log, ...this.#options.sender })
      this.#open = { journal, sender, lock }
      for (const [other, { pending, findings }] of found.entries.stores)
        if (other !== identity)
          warn(
            `the journal of removals has ${pending.size + findings.size} entries of another store, ${other}. They stay: run "orthanc-cloud-storage deletions --drain" with the configuration of that store`,
          )
      const { pending, findings } = journal.entries.of(identity)
      if (pending.size > 0) log.info(`${pending.size} removals of an earlier run are finished now`)
      if (findings.size > 0)
        warn(`${findings.size} removals were refused for a day: "orthanc-cloud-storage deletions" lists them`)
    } catch (error) {
      await lock.release().catch(() => {})
      throw unusable(folder, error)
    }
  }

  /** Begins to send what the journal holds. */
  begin(): void {
    this.#open?.sender.wake()
  }

  /** False: nothing is known of a journal. */
  get isOpen(): boolean {
    return this.#open !== undefined
  }

  get status(): DeletionsStatus {
    const { pending, findings } = this.entries
    const [oldest] = pending.values()
    const oldestMs = oldest ? Math.max(0, this.#open?.sender.ageOf(oldest) ?? 0) : 0
    return { pending: pending.size, oldestMs, findings: findings.size }
  }

  /** Of this store. */
  get entries(): StoreEntries {
    return this.#open?.journal.entries.of(this.#options.identity) ?? nothing
  }

  /** Whether Orthanc has removed the object, though it may still be there. */
  has(key: string): boolean {
    const { pending, findings } = this.entries
    return pending.has(key) || findings.has(key)
  }

  /** Notes the removal. False: it must be carried out at once. */
  note(key: string): Promise<boolean> {
    const noting = this.#noting.get(key) ?? this.#note(key).finally(() => this.#noting.delete(key))
    this.#noting.set(key, noting)
    return noting
  }

  async #note(key: string): Promise<boolean> {
    if (!this.#open) return false
    if (this.has(key)) return true
    const { journal, sender } = this.#open
    const { most = MOST_ENTRIES, identity, log } = this.#options
    if (journal.entries.size >= most) {
      if (!this.#saidFull)
        log.warn(`${most} removals wait for the store. Until there are fewer, Orthanc waits for each further removal`)
      this.#saidFull = true
      return false
    }
    this.#saidFull = false
    const noted = await journal.add(identity, key, sender.now()).then(
      () => true,
      () => false,
    )
    if (noted) sender.add(key)
    return noted
  }

  /** Before an object is written again: resolves when no removal of an earlier time can reach it any more. */
  async forget(key: string, signal: AbortSignal): Promise<void> {
    if (!this.#open) return
    const { journal, sender } = this.#open
    const { identity } = this.#options
    journal.done(identity, key)
    await unlessAborted(sender.ended(key), signal)
    journal.done(identity, key) // the request that has ended may have made a finding of it
    await unlessAborted(journal.safe(identity, key), signal)
  }

  /** Tries findings, too, and each removal once. Resolves with what failed. */
  async drain(signal: AbortSignal): Promise<Removals> {
    return (await this.#open?.sender.drain(signal)) ?? new Map()
  }

  /** Sends what is left for up to `drainMs`, and gives the folder back. */
  async close(drainMs: number): Promise<void> {
    const open = this.#open
    if (!open) return
    await open.sender.stop(drainMs)
    this.#open = undefined
    await open.journal.close().catch(() => {})
    await open.lock.release().catch(() => {}) // the next engine sees that this process has ended
  }

  #lose(): void {
    const open = this.#open
    this.#open = undefined
    void open?.sender.stop(0)
    this.#options.log.warn(
      `another process has taken the journal of removals in ${this.#options.folder}: Orthanc waits for each removal from now on`,
    )
  }
}
