/**
 * The files of a lease, below a name of its own in a folder that several machines share:
 *
 *   holder/<id>/            the fence: one empty file in it for each removal that its holder has under way
 *   holder/<id>.json        who holds it, and a count that goes up while the holder lives
 *   doubts/<id>.<removal>   a removal that may still come from a holder that lost its turn, with its <id>.json
 *   new-<id>/               a lease on its way
 *
 * Only steps that a server takes as a whole decide anything, also over NFS with its caches: the rename to `holder`,
 * which fails when a lease is there, and the removal of the fence, which fails while there is a file in it. After that,
 * nobody can make a file in the fence any more, not even a client that still has the folder open. Each name has the id
 * of its lease. So whoever was paused and goes on can only touch what it meant to touch.
 */
import { constants } from 'node:fs'
import { mkdir, readdir, readFile, rename, rmdir, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '../../fault.ts'
import type { Disk } from './disk.ts'
import { isAbsence } from './faults.ts'
import type { ProcessIdentity } from './lease-process.ts'
import { LEASE } from './names.ts'
import type { FolderRoot } from './root.ts'

export interface LeaseHolder extends ProcessIdentity {
  readonly id: string
  /** By the clock of the holder: for people. */
  readonly since: string
}

export interface LeaseSeen {
  readonly id: string
  /** Undefined: it cannot be read. */
  readonly holder: LeaseHolder | undefined
  /** It changes while the holder lives. */
  readonly text: string
}

/** A removal that may still come. */
export interface Doubt {
  readonly name: string
  readonly removal: string
  readonly holder: LeaseHolder | undefined
  readonly ageMs: number
}

const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/
const MODE = 0o770
/** A listing that a client remembers may lag behind. Then the next try, a second later, goes on. */
const MOST_SWEEPS = 20
const ABANDONED_MS = 3_600_000

export class LeaseFolder {
  readonly #disk: Disk
  readonly #top: string
  readonly #holder: string
  readonly #doubts: string

  constructor({ disk, path }: Pick<FolderRoot, 'disk' | 'path'>, name = LEASE) {
    this.#disk = disk
    this.#top = join(path, name)
    this.#holder = join(this.#top, 'holder')
    this.#doubts = join(this.#top, 'doubts')
  }

  async look(): Promise<LeaseSeen | undefined> {
    const names = await this.#unlessGone(() => readdir(this.#holder))
    if (!names) return undefined
    const id = names.find(name => ID.exec(name)?.[0] === name)
    if (id !== undefined) {
      const text = (await this.#unlessGone(() => readFile(join(this.#holder, `${id}.json`), 'utf8'))) ?? ''
      return { id, text, holder: parsed(text) }
    }
    // Without its fence it is nobody's: what a crash has left of it.
    for (const name of names) await this.#unlessGone(() => unlink(join(this.#holder, name)))
    await this.#removeIfEmpty(this.#holder)
    return undefined
  }

  /** False: another process was faster. */
  async acquire(holder: LeaseHolder): Promise<boolean> {
    const making = join(this.#top, `new-${holder.id}`)
    const fence = join(this.#holder, holder.id)
    try {
      // Nothing is made above: the disk may have gone away. And who just ended may tidy up between two of these lines.
      for (const folder of [this.#top, making, join(making, holder.id)]) await this.#make(folder)
      await this.#run(() => writeFile(join(making, `${holder.id}.json`), textOf(holder, 0), { mode: 0o660 }))
      await this.#run(() => rename(making, this.#holder)).catch(error => {
        // A repeated request of an NFS client finds that the first one has done it, so the look below decides.
        if (!isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT')) throw error
      })
      return (await this.#unlessGone(() => stat(fence))) !== undefined
    } catch (error) {
      if (isGone(error)) return false
      throw error
    } finally {
      await this.#removeLease(making, holder.id).catch(() => {})
    }
  }

  /** Whether the lease is still that of `id`. */
  async holds(id: string): Promise<boolean> {
    return (await this.#unlessGone(() => stat(join(this.#holder, id)))) !== undefined
  }

  /** Shows that the holder lives. False: it has lost the lease. */
  async beat(holder: LeaseHolder, count: number): Promise<boolean> {
    const file = join(this.#holder, `${holder.id}.json`)
    // As many bytes each time, so no reader finds an empty file.
    const options = { flag: constants.O_WRONLY }
    const written = await this.#unlessGone(() => writeFile(file, textOf(holder, count), options).then(() => true))
    return written ?? false
  }

  /** False: the lease is lost. Else nobody takes the lease without knowing of this removal. */
  async mark(id: string, removal: string): Promise<boolean> {
    const file = join(this.#holder, id, removal)
    const made = await this.#unlessGone(() => writeFile(file, '', { mode: 0o660 }).then(() => true))
    return made ?? false
  }

  /** The removal has ended. If the lease was lost meanwhile, the doubt ends. */
  async unmark(id: string, removal: string): Promise<void> {
    const ended = await this.#unlessGone(() => unlink(join(this.#holder, id, removal)).then(() => true))
    if (!ended) await this.endDoubt(`${id}.${removal}`)
  }

  /** Gives the own lease back, when none of its removals is under way. */
  async release(id: string): Promise<void> {
    await this.#removeLease(this.#holder, id)
    await this.#tidy()
  }

  /**
   * Takes the lease `id` away from its holder. `ended`: the process is no more, and with it what it had under way.
   * False: it could not be taken away now.
   */
  async evict(id: string, ended: boolean): Promise<boolean> {
    if (!(ended || (await this.#moveToDoubts(id)))) return false
    await this.#removeLease(this.#holder, id)
    return true
  }

  /** By the clock of the file system, which made `fence` a moment ago. */
  async doubts(fence: string): Promise<readonly Doubt[]> {
    const names = (await this.#namesIn(this.#doubts)).filter(name => !name.endsWith('.json'))
    if (names.length === 0) return []
    const now = (await this.#run(() => stat(join(this.#holder, fence)))).mtimeMs
    const doubts: Doubt[] = []
    for (const name of names) {
      const [id = ''] = ID.exec(name) ?? []
      const stats = await this.#unlessGone(() => stat(join(this.#doubts, name)))
      const text = await this.#unlessGone(() => readFile(join(this.#doubts, `${id}.json`), 'utf8'))
      const removal = name.slice(id.length + 1)
      if (stats) doubts.push({ name, removal, holder: parsed(text ?? ''), ageMs: now - stats.mtimeMs })
    }
    return doubts
  }

  async isInDoubt({ name }: Doubt): Promise<boolean> {
    return (await this.#unlessGone(() => stat(join(this.#doubts, name)))) !== undefined
  }

  async endDoubt(name: string): Promise<void> {
    await this.#unlessGone(() => unlink(join(this.#doubts, name)))
    const [id = ''] = ID.exec(name) ?? []
    const rest = await this.#namesIn(this.#doubts)
    if (rest.some(other => other.startsWith(id) && other !== `${id}.json`)) return
    await this.#unlessGone(() => unlink(join(this.#doubts, `${id}.json`)))
    await this.#removeIfEmpty(this.#doubts)
  }

  /** What a crash left of leases on their way. */
  async sweep(fence: string): Promise<void> {
    const now = (await this.#run(() => stat(join(this.#holder, fence)))).mtimeMs
    for (const name of await this.#namesIn(this.#top)) {
      if (!name.startsWith('new-')) continue
      const stats = await this.#unlessGone(() => stat(join(this.#top, name)))
      if (stats && now - stats.mtimeMs > ABANDONED_MS)
        // Another user's, perhaps: it is in nobody's way.
        await this.#removeLease(join(this.#top, name), name.slice('new-'.length)).catch(() => {})
    }
  }

  /** Empties the fence and removes it: true when that is done. */
  async #moveToDoubts(id: string): Promise<boolean> {
    const fence = join(this.#holder, id)
    const info = await this.#unlessGone(() => readFile(join(this.#holder, `${id}.json`)))
    for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
      const removals = await this.#namesIn(fence)
      if (removals.length > 0) {
        await this.#make(this.#doubts)
        await this.#run(() => writeFile(join(this.#doubts, `${id}.json`), info ?? '', { mode: 0o660 }))
      }
      for (const removal of removals)
        await this.#unlessGone(() => rename(join(fence, removal), join(this.#doubts, `${id}.${removal}`)))
      if (await this.#removeIfEmpty(fence)) return true
    }
    return false
  }

  async #removeLease(folder: string, id: string): Promise<void> {
    const fence = join(folder, id)
    for (const removal of await this.#namesIn(fence)) await this.#unlessGone(() => unlink(join(fence, removal)))
    await this.#removeIfEmpty(fence)
    await this.#unlessGone(() => unlink(join(folder, `${id}.json`)))
    await this.#removeIfEmpty(folder)
  }

  async #tidy(): Promise<void> {
    await this.#removeIfEmpty(this.#doubts)
    await this.#removeIfEmpty(this.#top)
  }

  /** True: it is gone. */
  #removeIfEmpty(folder: string): Promise<boolean> {
    return this.#run(() => rmdir(folder)).then(
      () => true,
      error => {
        if (isErrno(error, 'ENOTEMPTY', 'EEXIST', 'EBUSY')) return false
        if (isGone(error)) return true
        throw error
      },
    )
  }

  async #make(folder: string): Promise<void> {
    await this.#run(() => mkdir(folder, { mode: MODE })).catch(error => {
      if (!isErrno(error, 'EEXIST')) throw error
    })
  }

  async #namesIn(folder: string): Promise<readonly string[]> {
    return (await this.#unlessGone(() => readdir(folder))) ?? []
  }

  async #unlessGone<T>(work: () => Promise<T>): Promise<T | undefined> {
    return await this.#run(work).catch(error => {
      if (isGone(error)) return undefined
      throw error
    })
  }

  #run<T>(work: () => Promise<T>): Promise<T> {
    return this.#disk.run(work)
  }
}

/** ESTALE: an NFS client knew it, and the server has it no more. */
const isGone = (error: unknown) => isAbsence(error) || isErrno(error, 'ESTALE')

function textOf(holder: LeaseHolder, count: number): string {
  return `${JSON.stringify(holder)}\n${String(count).padStart(12, '0')}\n`
}

function parsed(text: string): LeaseHolder | undefined {
  try {
    const { id, host, pid, started, machine, since } = JSON.parse(text.split('\n', 1)[0] ?? '')
    const texts = [id, host, started, machine, since].every(part => typeof part === 'string')
    return texts && Number.isInteger(pid) && pid > 0 ? { id, host, pid, started, machine, since } : undefined
  } catch {
    return undefined
  }
}
