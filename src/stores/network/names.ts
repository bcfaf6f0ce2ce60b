/**
 * Few requests to the name service: a look-up occupies one of the few threads that also read and write the disk, for as
 * long as the DNS takes. So all connections share one look-up of a name, and its answer is kept for some seconds.
 * Failures are not kept.
 */
import { type LookupAddress, lookup } from 'node:dns'
import type { LookupFunction } from 'node:net'

const KEPT_MS = 10_000
const MOST_NAMES = 100
/** How long an address that did not answer comes after the others of its name. */
const LATE_MS = 600_000

type Waiting = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void
type Asks = (name: string, done: Waiting) => void

const ask: Asks = (name, done) => lookup(name, { all: true }, (error, addresses) => done(error, addresses))

export class Names {
  readonly #ask: Asks
  readonly #known = new Map<string, { readonly addresses: LookupAddress[]; readonly until: number }>()
  readonly #waiting = new Map<string, Waiting[]>()
  readonly #late = new Map<string, number>()

  constructor(asks: Asks = ask) {
    this.#ask = asks
  }

  /** For net.connect(). */
  readonly lookup: LookupFunction = (name, { all, family }, callback) => {
    const wanted = family === 'IPv4' ? 4 : family === 'IPv6' ? 6 : family
    this.#addresses(name, (error, found) => {
      const addresses = wanted ? found.filter(one => one.family === wanted) : found
      const [first] = addresses
      if (error) callback(error, '', 0)
      else if (!first) callback(Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' }), '', 0)
      else if (all) (callback as unknown as Waiting)(null, addresses)
      else callback(null, first.address, first.family)
    })
  }

  /** This address did not answer in time: the others of its name come first for a while. */
  late(address: string): void {
    this.#late.delete(address)
    this.#late.set(address, Date.now() + LATE_MS)
    trim(this.#late)
  }

  #addresses(name: string, done: Waiting): void {
    const known = this.#known.get(name)
    if (known && Date.now() < known.until) {
      process.nextTick(() => done(null, this.#sorted(known.addresses)))
      return
    }
    const waiting = this.#waiting.get(name)
    if (waiting) {
      waiting.push(done)
      return
    }
    const all = [done]
    this.#waiting.set(name, all)
    this.#ask(name, (error, addresses) => {
      this.#waiting.delete(name)
      if (!error) {
        this.#known.delete(name)
        this.#known.set(name, { addresses, until: Date.now() + KEPT_MS })
        trim(this.#known)
      }
      for (const one of all) one(error, error ? [] : this.#sorted(addresses))
    })
  }

  #sorted(addresses: readonly LookupAddress[]): LookupAddress[] {
    const isLate = ({ address }: LookupAddress) => (this.#late.get(address) ?? 0) > Date.now()
    return [...addresses.filter(one => !isLate(one)), ...addresses.filter(isLate)]
  }
}

/** Removes the oldest. */
function trim(map: Map<string, unknown>): void {
  const [oldest] = map.keys()
  if (map.size > MOST_NAMES && oldest !== undefined) map.delete(oldest)
}
