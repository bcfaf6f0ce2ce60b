/** Above so many files, the oldest goes. Each takes 32 bytes of memory, so this is the limit of what an index takes. */
export const MOST_FILES = 2 ** 22
/** Sizes are counted in blocks, as disks do. Bytes. */
export const BLOCK_BYTES = 4096

const NONE = 0xffffffff
/** In place of a neighbour: found on the disk, and not in the order of use yet. */
const LOOSE = 0xfffffffe
const FIRST_CAPACITY = 1024

export const blocksOf = (bytes: number) => Math.ceil(bytes / BLOCK_BYTES)

/**
 * Which files are there, in the order of their last use. A name is 16 hexadecimal digits. There may be millions, so
 * this is a hash table and a linked list in arrays of numbers: objects would take five times the memory.
 */
export class FileIndex {
  #capacity = FIRST_CAPACITY
  #high = new Uint32Array(FIRST_CAPACITY)
  #low = new Uint32Array(FIRST_CAPACITY)
  #blocks = new Uint32Array(FIRST_CAPACITY)
  /** Seconds since 1970. */
  #used = new Uint32Array(FIRST_CAPACITY)
  #older = new Uint32Array(FIRST_CAPACITY)
  #newer = new Uint32Array(FIRST_CAPACITY)
  #table = new Uint32Array(2 * FIRST_CAPACITY).fill(NONE)
  #oldest = NONE
  #newest = NONE
  /** A list of rows that are free again, by #newer. */
  #free = NONE
  #rows = 0
  #count = 0
  #total = 0
  /** Rows and times of what was found, until settle(). */
  #found: { readonly rows: number[]; readonly times: number[] } = { rows: [], times: [] }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#total * BLOCK_BYTES
  }

  /** The bytes of a file, rounded up. */
  bytesOf(name: string): number | undefined {
    const row = this.#table[this.#slotOf(...partsOf(name))] as number
    return row === NONE ? undefined : (this.#blocks[row] as number) * BLOCK_BYTES
  }

  /** A file that is used now. */
  add(name: string, bytes: number, now: number): void {
    this.delete(name)
    this.#link(this.#insert(name, bytes, now))
  }

  /** A file that was on the disk before, last used at `time`. What is known already stays as it is. */
  addFound(name: string, bytes: number, time: number): void {
    if (this.bytesOf(name) !== undefined) return
    const row = this.#insert(name, bytes, time)
    this.#older[row] = LOOSE
    this.#found.rows.push(row)
    this.#found.times.push(time)
  }

  /** Brings what was found into the order of use, before everything that was used since. */
  settle(): void {
    const { rows, times } = this.#found
    this.#found = { rows: [], times: [] }
    // Time and row in one number, because numbers are sorted ten times faster than anything else.
    let [first, last] = [Number.POSITIVE_INFINITY, 0]
    for (const time of times) [first, last] = [Math.min(first, time), Math.max(last, time)]
    const unit = Math.max(2 ** -10, (last - first) / 2 ** 30)
    const order = new Float64Array(rows.length)
    for (const [i, time] of times.entries()) order[i] = Math.floor((time - first) / unit) * MOST_FILES + (rows[i] ?? 0)
    order.sort()
    for (let i = order.length - 1; i >= 0; i--) {
      const row = (order[i] as number) % MOST_FILES
      if (this.#older[row] === LOOSE) this.#linkOldest(row)
    }
  }

  touch(name: string, now: number): void {
    const row = this.#table[this.#slotOf(...partsOf(name))] as number
    if (row === NONE) return
    this.#unlink(row)
    this.#used[row] = now / 1000
    this.#link(row)
  }

  delete(name: string): void {
    const slot = this.#slotOf(...partsOf(name))
    const row = this.#table[slot] as number
    if (row === NONE) return
    this.#unlink(row)
    this.#close(slot)
    this.#total -= this.#blocks[row] as number
    this.#count--
    this.#newer[row] = this.#free
    this.#older[row] = NONE
    this.#free = row
  }

  /** What was not used for the longest time. `used` in milliseconds. */
  oldest(): { readonly name: string; readonly used: number } | undefined {
    const row = this.#oldest
    if (row === NONE) return undefined
    const name = hex(this.#high[row] as number) + hex(this.#low[row] as number)
    return { name, used: (this.#used[row] as number) * 1000 }
  }

  #insert(name: string, bytes: number, time: number): number {
    if (this.#free === NONE && this.#rows === this.#capacity) this.#grow()
    const row = this.#free === NONE ? this.#rows++ : this.#free
    if (row === this.#free) this.#free = this.#newer[row] as number
    const [high, low] = partsOf(name)
    this.#high[row] = high
    this.#low[row] = low
    this.#blocks[row] = blocksOf(bytes)
    this.#used[row] = Math.max(0, time / 1000)
    this.#newer[row] = NONE
    this.#older[row] = NONE
    this.#table[this.#slotOf(high, low)] = row
    this.#count++
    this.#total += blocksOf(bytes)
    return row
  }

  #link(row: number): void {
    this.#older[row] = this.#newest
    this.#newer[row] = NONE
    if (this.#newest === NONE) this.#oldest = row
    else this.#newer[this.#newest] = row
    this.#newest = row
  }

  #linkOldest(row: number): void {
    this.#newer[row] = this.#oldest
    this.#older[row] = NONE
    if (this.#oldest === NONE) this.#newest = row
    else this.#older[this.#oldest] = row
    this.#oldest = row
  }

  #unlink(row: number): void {
    const older = this.#older[row] as number
    const newer = this.#newer[row] as number
    if (older === LOOSE) return
    if (older === NONE) this.#oldest = newer
    else this.#newer[older] = newer
    if (newer === NONE) this.#newest = older
    else this.#older[newer] = older
  }

  /** Where a name is in the table, or would be. */
  #slotOf(high: number, low: number): number {
    const mask = this.#table.length - 1
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const row = this.#table[slot] as number
      if (row === NONE || (this.#low[row] === low && this.#high[row] === high)) return slot
    }
  }

  /** Empties a slot. Those behind it move up, or a search would stop at the gap. */
  #close(gap: number): void {
    const mask = this.#table.length - 1
    let hole = gap
    for (let slot = (hole + 1) & mask; ; slot = (slot + 1) & mask) {
      const row = this.#table[slot] as number
      if (row === NONE) break
      const home = (this.#low[row] as number) & mask
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue
      this.#table[hole] = row
      hole = slot
    }
    this.#table[hole] = NONE
  }

  #grow(): void {
    this.#capacity *= 2
    const larger = (from: Uint32Array) => {
      const to = new Uint32Array(this.#capacity)
      to.set(from)
      return to
    }
    this.#high = larger(this.#high)
    this.#low = larger(this.#low)
    this.#blocks = larger(this.#blocks)
    this.#used = larger(this.#used)
    this.#older = larger(this.#older)
    this.#newer = larger(this.#newer)
    this.#table = new Uint32Array(2 * this.#capacity).fill(NONE)
    for (let row = 0; row < this.#rows; row++)
      this.#table[this.#slotOf(this.#high[row] as number, this.#low[row] as number)] = row
  }
}

const partsOf = (name: string): [number, number] => [parseInt(name.slice(0, 8), 16), parseInt(name.slice(8), 16)]
const hex = (part: number) => part.toString(16).padStart(8, '0')
