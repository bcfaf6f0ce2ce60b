/** List prices of storage, from a file of the site: docs/usage.md. */
import { z } from 'zod'
import { Fault, isObject } from '../fault.ts'
import { bad, checked } from './reading.ts'
import { didYouMean, kindOf, quoted } from './shown.ts'
import { requiredText } from './values.ts'

export interface Prices {
  /** For people, such as `USD`. */
  readonly currency: string
  readonly bytesPerGB: number
  /** By storage class. */
  readonly perGBMonth: ReadonlyMap<string, number>
}

const PRICE = 'a price that is not negative, such as 0.023'
const GB = '1000000000 or 1073741824'

const schema = z.object({
  Currency: requiredText('the name of a currency, such as "USD"'),
  BytesPerGB: z.union([z.literal(1_000_000_000), z.literal(1_073_741_824)], { error: GB }).default(1_073_741_824),
  PerGBMonth: z.record(z.string(), z.number({ error: PRICE }).nonnegative({ error: PRICE }), {
    error: 'an object with a price for each storage class',
  }),
})

/** Throws `BadConfig` with the file and the path of the option. */
export function parsePrices(json: string, file: string): Prices {
  let root: unknown
  try {
    root = JSON.parse(json)
  } catch {
    throw bad(`${file} is not JSON`)
  }
  if (!isObject(root)) throw bad(`${file} is ${kindOf(root)}, but must be an object`)
  const known = Object.keys(schema.shape)
  const stranger = Object.keys(root).find(name => !known.includes(name))
  if (stranger !== undefined)
    throw bad(`${file}: ${quoted(stranger)} is not an option of prices${didYouMean(stranger, known)}`)
  const { Currency, BytesPerGB, PerGBMonth } = inFile(file, () => checked(schema, '', root))
  return { currency: Currency, bytesPerGB: BytesPerGB, perGBMonth: new Map(Object.entries(PerGBMonth)) }
}

function inFile<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw bad(`${file}: ${Fault.from(error).message}`)
  }
}
