/** Every failure the engine can report: one vocabulary, to be acted on by code, never by message. */
export type FaultCode =
  | 'NotFound' // the object, file or bucket is proven absent
  | 'Denied' // credentials or permissions
  | 'Archived' // the object is there, but in an archive class: it cannot be read before it is restored
  | 'Corrupt' // bytes are not what they must be: length, checksum, tag
  | 'Unavailable' // no answer, or "try again later"
  | 'Timeout' // a deadline passed
  | 'TooLarge' // it does not fit: disk full, quota, object or frame limit
  | 'BadRequest' // the caller asked for something impossible, such as a range outside the object
  | 'BadConfig' // the configuration must be changed by a person
  | 'Canceled' // the caller went away
  | 'Internal' // a defect of ours, or an answer that we did not expect

/** Where a failure happened, as data. A wrapper or caller fills in what the thrower did not know. */
export interface Where {
  readonly verb?: string // 'write', 'read', 'remove', 'check', ...
  readonly store?: string // Store.name
  readonly key?: string
}

export interface FaultOptions {
  readonly where?: Where
  /** The original error. Never dropped: it holds the stack and the provider's own fields. */
  readonly cause?: unknown
  /** What a person can do about it, as one full sentence. Empty when nothing is known. */
  readonly remedy?: string | undefined
  /** Whether repeating the same request can help. Default: only for Unavailable and Timeout. */
  readonly retryable?: boolean
  /** The provider's own wish (Retry-After), in milliseconds. */
  readonly retryAfterMs?: number | undefined
  /** The store also answers "forbidden" for an absent object, which may be under another key or on another tier. */
  readonly perhapsAbsent?: boolean
  /** Repeating this request cannot help, but repeating the whole operation can: the store forgot what came before. */
  readonly startOver?: boolean
  /** The answer was lost, or did not come from the store: the store may have carried out the request. */
  readonly doubtful?: boolean
}

/**
 * The only error class that crosses a module boundary. `message` says what happened, in the provider's words where
 * there are any. It never holds a secret, a signed URL or patient data: it ends up in Orthanc's log.
 */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly code: FaultCode
  readonly where: Where
  readonly remedy: string
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined
  readonly perhapsAbsent: boolean
  readonly startOver: boolean
  readonly doubtful: boolean

  constructor(code: FaultCode, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.where = options.where ?? {}
    this.remedy = options.remedy ?? ''
    this.retryable = options.retryable ?? (code === 'Unavailable' || code === 'Timeout')
    this.retryAfterMs = options.retryAfterMs
    this.perhapsAbsent = options.perhapsAbsent ?? false
    this.startOver = options.startOver ?? false
    this.doubtful = options.doubtful ?? false
  }

  /** The same failure with another message or options. Options that are not given stay; `where` is only completed. */
  with(options: FaultOptions, message = this.message): Fault {
    const where = { ...options.where, ...this.where }
    return new Fault(this.code, message, { ...this, cause: this.cause, ...options, where })
  }

  /** The same failure with `where` completed. What is already known stays: the thrower knows best. */
  at(where: Where): Fault {
    return this.with({ where })
  }

  /** Anything thrown becomes a Fault; what is not one already is a defect, hence `Internal`. */
  static from(error: unknown, where: Where = {}): Fault {
    if (error instanceof Fault) return error.at(where)
    return new Fault('Internal', messageOf(error), { where, cause: error })
  }

  /** Why `signal` is aborted: its reason if that is a Fault, `Timeout` for AbortSignal.timeout(), else `Canceled`. */
  static ofAbort({ reason }: AbortSignal, message?: string): Fault {
    if (reason instanceof Fault) return reason
    const late = reason instanceof Error && reason.name === 'TimeoutError'
    const usual = late ? 'the deadline has passed' : 'the operation was canceled'
    return new Fault(late ? 'Timeout' : 'Canceled', message ?? usual, { cause: reason, retryable: false })
  }

  /** The one line for the log (docs/errors.md): verb, store, key, what happened, what to do. */
  describe(): string {
    const { verb, store, key } = this.where
    const on = store && (verb && !key ? store : `on ${store}`)
    const place = [verb && `cannot ${verb}`, key && `'${key}'`, on].filter(Boolean).join(' ')
    const line = [place, `${this.message} [${this.code}]`].filter(Boolean).join(': ')
    return oneLine(this.remedy ? `${line}. ${this.remedy}` : line)
  }
}

/** Rethrows any error, such as that of a source that broke, as a Fault. */
export function throwFault(error: unknown): never {
  throw Fault.from(error)
}

/** As the method of AbortSignal, but throws Faults only. */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw Fault.ofAbort(signal)
}

/** The text of an error. In errors of some libraries, `message` is not a text but an object that a server sent. */
export function messageOf(error: unknown): string {
  const said: unknown = error instanceof Error ? error.message : error
  return typeof said === 'object' && said !== null ? 'an error without a message' : String(said)
}

/** The same for an error about a file, without the path, which `Fault.where` already has. */
export function messageWithoutPath(error: unknown): string {
  return messageOf(error).replace(/, \w+ '.*$/s, '')
}

/** The code of an error of Node's; '' = it has none. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes(errnoOf(error))
}

/** The row under a name from outside. It may be "constructor", so only the table's own members count. */
export function rowFor<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}

/** One row under several names. */
export function sameRow<T>(row: T, ...names: readonly string[]): Readonly<Record<string, T>> {
  return Object.fromEntries(names.map(name => [name, row]))
}

/** An object as JSON knows it: neither null nor an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Text from outside as a part of one line: without control characters, cut after `most` characters. */
export function oneLine(text: string, most = Number.POSITIVE_INFINITY): string {
  const some = text.length > most ? `${text.slice(0, most)}...` : text
  return some.replace(/\s+/g, ' ').replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, '\ufffd')
}

/** Whether `error` is a Fault with this code. Callers decide by it. */
export function isCode(error: unknown, code: FaultCode): error is Fault {
  return error instanceof Fault && error.code === code
}
