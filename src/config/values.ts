/**
 * The kinds of values that options have. Values of the usual Docker image come from environment variables through a
 * JSON parser (docs/contract.md): there may be a number or a boolean instead of a string, or the other way round, and
 * people write True by hand. Each message is the end of the sentence "... is X, but must be".
 */
import { z } from 'zod'
import { quoted } from './shown.ts'

export const MB = 1024 * 1024

export const text = (error = 'a string') =>
  z.union([z.string(), z.number(), z.boolean()], { error }).transform(value => String(value))

export const requiredText = (what: string) =>
  text(what)
    .transform(value => value.trim())
    .refine(value => value !== '', { error: what })

/** If it is a URI or a path, the message says what to write instead. */
export const bucketName = requiredText("the bucket's name").superRefine((name, { addIssue }) => {
  if (name.startsWith('arn:')) return
  if (/^\.+$/.test(name)) return addIssue("the bucket's name, not a folder")
  const place = name.replace(/^[a-z0-9]+:\/\//i, '').replace(/^.*@|[?#].*$/gs, '') // without keys and signatures
  const [bucket = '', ...folders] = place.split('/')
  const folder = folders.filter(part => part !== '').join('/')
  if (name !== bucket)
    addIssue(
      `the bucket's name alone, "${quoted(bucket)}"${folder && `: the folder "${quoted(folder)}" belongs in RootPath`}`,
    )
})

export const optionalText = text().transform(value => (value.trim() === '' ? undefined : value.trim()))

export const flag = text('true or false')
  .transform(value => value.trim().toLowerCase())
  .refine(value => /^(true|false|1|0)$/.test(value), { error: 'true or false' })
  .transform(value => value === 'true' || value === '1')

export const whole = (min: number, max: number, unit: string) => {
  const error = `a whole number of ${unit} from ${min} to ${max}`
  return z
    .union([z.number(), z.string().regex(/^\s*\d+\s*$/, { error })], { error })
    .transform(Number)
    .refine(value => Number.isInteger(value) && value >= min && value <= max, { error })
}

/** A time-out. 0 is the default, as for the official plugin. */
export const seconds = (max: number, usual: number) =>
  whole(0, max, 'seconds')
    .transform(value => (value === 0 ? usual : value))
    .default(usual)

export const oneOf = <const T extends readonly string[]>(...values: T) =>
  z.enum(values, { error: values.map(value => `"${value}"`).join(' or ') })

/** A host or URL, completed with https; '' stays ''. */
export const endpoint = text()
  .transform(value => value.trim())
  .transform(value => (value === '' || /^[a-z]+:\/\//i.test(value) ? value : `https://${value}`))
  .refine(value => value === '' || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)), {
    error: 'a host name or an http(s) URL',
    abort: true,
  })

/** For refine(): an endpoint has no parts that would be ignored or that are secret. */
export function isBare(url: string): boolean {
  if (url === '') return true
  const { username, password, search, hash } = new URL(url)
  return username + password + search + hash === ''
}
export const BARE = { error: 'a host name or an http(s) URL without user, password, query and fragment' }
export const bareEndpoint = endpoint.refine(isBare, BARE)
/** As NO_PROXY takes them: in one string with commas between, or as an array. */
export const listOfHosts = z
  .union([z.string().transform(list => list.split(',')), z.array(z.string())], {
    error: 'a list of hosts, such as ["minio", ".hospital.example", "10.0.0.0/8"]',
  })
  .transform(hosts => hosts.map(host => host.trim()).filter(host => host !== ''))

/** Whether what is sent to this URL stays on this machine or is encrypted. */
export function isPrivate(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || /^(localhost|.*\.localhost|127\.[\d.]+|\[::1\])$/.test(hostname)
}

/** For a value that becomes a header unchanged: its first character that cannot be sent, by its number. */
export function unsendable(value: string): string | undefined {
  const at = [...value].findIndex(c => !/^[ -~]$/.test(c))
  return at < 0
    ? undefined
    : `U+${[...value][at]?.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')} at position ${at + 1}`
}

const KEY = /^[A-Z0-9+/_-]{43}=$|^[A-Z0-9_-]{43}$|^[0-9a-f]{64}$|-----BEGIN |^\{|^(ewog|ewoJ|eyJ)[A-Z0-9+/_-]{40}/i

/** Whether what should be the path of a key file is a key: 32 bytes in base64 or hex, PEM, JSON or JSON in base64. */
export const isKey = (text: string): boolean => KEY.test(text.trim())
