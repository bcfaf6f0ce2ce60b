import { hash } from 'node:crypto'
import { type Bytes, type Content, checkedRange, cut, discard, type Range, type Source } from '../../bytes.ts'
import { Fault, throwIfAborted } from '../../fault.ts'
import type { Store, Wrap } from '../store.ts'
import { CacheSwitch, type CacheSwitchOptions } from './cache-switch.ts'
import type { CopyFolder } from './copy-folder.ts'
import { Damaged } from './copy-reader.ts'
import { type Change, NamedWork, type Work } from './named-work.ts'
import { WatchedSource } from './watched-source.ts'

export interface CacheOptions extends CacheSwitchOptions {
  /** Which store the copies are of: its place, not a name that another store may have, too. No secret. */
  readonly storeId: string
  /** Whether what is written is kept, too. */
  readonly onWrite: boolean
  /** Whether an object that begins so can be opened, as far as its beginning shows it. */
  opens(start: Buffer): boolean
}

/** Since this engine started; `files` and `bytes` are those that are there now. */
export interface CacheFigures {
  readonly on: boolean
  readonly hits: number
  readonly misses: number
  readonly files: number
  readonly bytes: number
  readonly evictions: number
  /** Copies that were damaged or did not open. */
  readonly dropped: number
}

/** The object that a copy is of. `name`: of the file. */
interface Named {
  readonly key: string
  readonly name: string
  readonly identity: Buffer
}

/**
 * Keeps copies of whole objects on a local disk, and reads from them. A reader never gets an error, a wrong byte or a
 * long wait from the cache: what is wrong with a copy is read from the store instead.
 */
export class DiskCache {
  readonly #options: CacheOptions
  readonly #switch: CacheSwitch
  readonly #works = new NamedWork()
  #hits = 0
  #misses = 0
  #dropped = 0

  constructor(options: CacheOptions) {
    this.#options = options
    this.#switch = new CacheSwitch(options)
  }

  /** See CacheSwitch. */
  start(isFirst = true): Promise<void> {
    return this.#switch.start(isFirst)
  }

  get on(): boolean {
    return this.#switch.folder !== undefined
  }

  figures(): CacheFigures {
    const { folder, evictions } = this.#switch
    const { files = 0, bytes = 0 } = folder ?? {}
    return { on: this.on, hits: this.#hits, misses: this.#misses, files, bytes, evictions, dropped: this.#dropped }
  }

  /** Removes what is too old. It happens every minute. */
  tidy(): Promise<void> {
    return this.#switch.tidy()
  }

  /** Resolves when all files are known and no copy is under way. */
  async settled(): Promise<void> {
    await this.#switch.folder?.found.catch(() => {})
    await this.#works.ended()
  }

  async close(): Promise<void> {
    await this.#works.cancelAll()
    await this.#switch.close()
  }

  readonly around: Wrap = store => ({
    name: store.name,
    get: (key, range, signal) => this.#get(store, this.#named(key), range, signal),
    put: (key, body, signal) => this.#put(store, this.#named(key), body, signal),
    remove: (key, signal) => this.#changing(this.#named(key), () => store.remove(key, signal)),
    removeMany: async (keys, signal) => {
      const removing = store.removeMany(keys, signal)
      const gone = removing.then(() => {})
      await Promise.all(keys.map(key => this.#changing(this.#named(key), () => gone)))
      return removing
    },
    stat: store.stat, // here and below, what the store itself has
    holds: store.holds,
    list: store.list,
    leftovers: store.leftovers,
    removeLeftover: store.removeLeftover,
    check: store.check,
    close: store.close,
  })

  #named(key: string): Named {
    const identity = Buffer.from(`${this.#options.storeId}\n${key}`)
    return { key, identity, name: hash('sha256', identity, 'hex').slice(0, 16) }
  }

  async #get(store: Store, named: Named, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    throwIfAborted(signal)
    const hit = await this.#hit(store, named, range, signal)
    if (hit) return hit
    throwIfAborted(signal)
    this.#misses++
    const folder = this.#switch.folder
    const work = folder && this.#works.begin(named.name)
    if (!work) return await store.get(named.key, range, signal)
    try {
      const content = await store.get(named.key, range, signal)
      // Only a whole object: its digest was compared, and a header alone would not help the next reader of an image.
      const isWhole = range === undefined || content.whole === true
      if (isWhole && this.#begin(folder, work, named, content.size))
        return { ...content, body: this.#kept(content.body, folder, work, signal) }
      this.#end(folder, work, false)
      return content
    } catch (error) {
      this.#end(folder, work, false)
      throw error
    }
  }

  /** From the copy, whose first part was read and verified. Undefined: there is none that can be used. */
  async #hit(store: Store, named: Named, range: Range | undefined, signal: AbortSignal): Promise<Content | undefined> {
    const folder = this.#switch.folder
    if (!folder) return undefined
    try {
      const copy = await folder.open(named.name, named.identity)
      if (!copy) return undefined
      const { size } = copy
      const opens = this.#options.opens(copy.start)
      if (!opens || (range && range.end > size)) {
        copy.close()
        if (!opens) throw new Damaged('it does not open')
        return undefined // the store decides
      }
      const { start, end } = range ? checkedRange(range, size) : { start: 0, end: size }
      const chunks = copy.read({ start, end })[Symbol.asyncIterator]()
      const first = await chunks.next()
      folder.touch(named.name, copy)
      this.#hits++
      return {
        size: end - start,
        body: this.#fromCopy(chunks, first, () => store.get(named.key, range, signal), {
          folder,
          named,
          size: end - start,
          signal,
        }),
        ...(end - start === size && { whole: true }),
        dropCopy: () => void this.#drop(folder, named),
      }
    } catch (error) {
      await this.#drop(folder, named, error)
      return undefined
    }
  }

  async *#fromCopy(
    chunks: AsyncIterator<Uint8Array>,
    first: IteratorResult<Uint8Array>,
    fromStore: () => Promise<Content>,
    { folder, named, size, signal }: { folder: CopyFolder; named: Named; size: number; signal: AbortSignal },
  ): Bytes {
    let at = 0
    let failure: unknown
    try {
      for (let next: IteratorResult<Uint8Array> | undefined = first; next && !next.done; ) {
        yield next.value
        at += next.value.byteLength
        next = await chunks.next().catch(error => {
          failure = error
          return undefined
        })
        throwIfAborted(signal)
      }
    } finally {
      await chunks.return?.()
    }
    if (failure === undefined) return
    await this.#drop(folder, named, failure)
    // From the first byte on, so that the store's digest is compared.
    const content = await fromStore()
    if (content.size !== size) {
      await discard(content)
      throw new Fault('Corrupt', `the object has ${content.size} bytes, but had ${size} when its copy was made`, {
        retryable: true,
      })
    }
    yield* cut(content.body, { start: at, end: size })
  }

  async #put(store: Store, named: Named, body: Source, signal: AbortSignal): Promise<void> {
    const folder = this.#switch.folder
    const keep = async (removed: Promise<void>) => {
      const work = folder && this.#options.onWrite ? this.#works.begin(named.name, true) : undefined
      if (!work || !folder) return await store.put(named.key, body, signal)
      const watched = this.#begin(folder, work, named, body.size) ? new WatchedSource(body, work) : undefined
      let stored = false
      try {
        await store.put(named.key, watched?.source ?? body, signal)
        stored = true
      } finally {
        await removed // the older copy must not be removed after the new one has its name
        this.#end(folder, work, stored && watched?.complete === true)
      }
    }
    await this.#changing(named, keep)
  }

  /** Removes the copy at once, and lets nobody make one of what was there before. */
  async #changing(named: Named, change: (removed: Promise<void>) => Promise<void>): Promise<void> {
    const changing = this.#works.change(named.name)
    const removed = this.#remove(named, changing)
    try {
      await change(removed)
    } finally {
      await removed
      changing.end()
    }
  }

  async #remove({ name }: Named, { idle }: Change): Promise<void> {
    const folder = this.#switch.folder
    if (!folder) return this.#switch.missed(name)
    await idle
    await folder.remove(name).catch(error => {
      this.#switch.failed(folder, error)
      this.#switch.missed(name)
    })
  }

  /** False: no copy is made of it. */
  #begin(folder: CopyFolder, work: Work, { name, identity }: Named, size: number): boolean {
    const copy = work.canceled || folder !== this.#switch.folder ? undefined : folder.begin(name, identity, size)
    if (copy) work.copy = copy
    return copy !== undefined
  }

  #kept(body: Bytes, folder: CopyFolder, work: Work, signal: AbortSignal): Bytes {
    const giveUp = () => this.#end(folder, work, false)
    signal.addEventListener('abort', giveUp, { once: true }) // also when nobody begins to read the body
    return this.#passing(body, folder, work, () => signal.removeEventListener('abort', giveUp))
  }

  async *#passing(body: Bytes, folder: CopyFolder, work: Work, ended: () => void): Bytes {
    let complete = false
    try {
      for await (const chunk of body) {
        work.write(chunk)
        yield chunk
      }
      complete = true
    } finally {
      ended()
      this.#end(folder, work, complete)
    }
  }

  /** Nobody waits for the disk. */
  #end(folder: CopyFolder, work: Work, complete: boolean): void {
    work.end(complete).then(
      () => complete && this.#switch.succeeded(folder),
      error => this.#switch.failed(folder, error),
    )
  }

  /** `why`: what is wrong with the copy, or with the disk. */
  async #drop(folder: CopyFolder, { name }: Named, why: unknown = new Damaged()): Promise<void> {
    if (!(why instanceof Damaged)) return this.#switch.failed(folder, why)
    this.#dropped++
    await folder.remove(name, true).catch(error => this.#switch.failed(folder, error))
  }
}
