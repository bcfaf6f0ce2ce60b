/**
 * Format A1 (docs/encryption.md), byte for byte that of the official plugins:
 *
 *     0   2  version, ASCII "A1"
 *     2   4  master key id, uint32 little-endian
 *     6  32  IV, encrypted
 *    38  32  data key, encrypted
 *    70   n  AES-256-GCM ciphertext under (data key, 32-byte IV); the 70 header bytes are authenticated with it
 *  70+n  16  GCM tag
 *
 * IV and data key are each AES-256-CTR under the master key with an all-zero counter: the same keystream for all
 * objects of a master key. That is the format's known weakness; a data key is therefore as secret as the master key
 * itself.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { type Bytes, type Content, checkedContent, collect, openWhole, type Range, type Source } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Envelope } from './envelope.ts'
import { gcmCounterMode } from './gcm-ranges.ts'
import { KEY_BYTES, type Keyring, type MasterKey, requireKey } from './keyring.ts'

const VERSION = 'A1'
const IV_BYTES = 32
const HEADER_BYTES = 70
const TAG_BYTES = 16
export const OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
/** GCM's own limit for one message (NIST SP 800-38D): its counter has 32 bits. */
const LARGEST_PLAIN_BYTES = 2 ** 36 - 32
/** What `keyIdOf` needs to see of an object. */
export const ID_BYTES = 6

/**
 * What goes through a cipher at once: Node copies what comes out, and as long as both copies fit into the processor's
 * cache that is cheap. Measured on reads of 100 MB in chunks of 1 MiB: half of the engine's processor time.
 */
const PIECE_BYTES = 256 * 1024

function* pieces(chunk: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < chunk.byteLength; at += PIECE_BYTES) yield chunk.subarray(at, at + PIECE_BYTES)
}

/** Data key and IV of one object. Only tests with vectors choose them; in use they are random. */
export interface Randomness {
  readonly dataKey: Buffer
  readonly iv: Buffer
}

const fresh = (): Randomness => ({ dataKey: randomBytes(KEY_BYTES), iv: randomBytes(IV_BYTES) })

/**
 * The id of the master key that an object says it is sealed under, or undefined when it does not begin as one of A1.
 */
export function keyIdOf(start: Buffer): number | undefined {
  return start.byteLength >= ID_BYTES && start.toString('latin1', 0, 2) === VERSION ? start.readUInt32LE(2) : undefined
}

export function a1(keys: Keyring, randomness: () => Randomness = fresh): Envelope {
  return {
    suffix: '.enc',
    sealedSize: size => size + OVERHEAD_BYTES,
    plainSize,
    seal(source) {
      if (!keys.current) throw new Fault('Internal', 'there is no master key to encrypt with')
      if (source.size > LARGEST_PLAIN_BYTES)
        throw new Fault('TooLarge', `a file of ${source.size} bytes cannot be encrypted, the limit is 64 GiB`)
      return sealed(source, keys.current, randomness())
    },
    unseal: content => checkedContent(plainSize(content.size), opened(content, keys)),
    ranges(get) {
      let random: Randomness | undefined
      return async ({ start, end }) => {
        random ??= randomnessOf(await collect(await get({ start: 0, end: HEADER_BYTES })), keys)
        const { size, body } = await get({ start: HEADER_BYTES + start, end: HEADER_BYTES + end })
        return { size, body: decrypted(body, random, start) }
      }
    },
  }
}

async function* decrypted(body: Bytes, { dataKey, iv }: Randomness, offset: number): Bytes {
  const decrypt = gcmCounterMode(dataKey, iv, offset)
  for await (const chunk of body) for (const piece of pieces(chunk)) yield* decrypt(piece)
}

function plainSize(size: number): number {
  if (size < OVERHEAD_BYTES)
    throw damaged(`the object has ${size} bytes, fewer than the ${OVERHEAD_BYTES} of an empty encrypted one`)
  if (size - OVERHEAD_BYTES > LARGEST_PLAIN_BYTES)
    throw damaged(`the object has ${size} bytes, more than an encrypted file of 64 GiB can have`)
  return size - OVERHEAD_BYTES
}

/**
 * What every IV and data key is combined with. Computed once for a key: that saves 30 µs an object. As secret as the
 * key.
 */
const keystreams = new WeakMap<KeyObject, Buffer>()

function keystreamOf(key: KeyObject): Buffer {
  const known = keystreams.get(key)
  if (known) return known
  const made = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(KEY_BYTES))
  keystreams.set(key, made)
  return made
}

/** Encrypts or decrypts 32 bytes: counter mode is its own inverse. */
function wrap(key: KeyObject, bytes: Uint8Array): Buffer {
  const stream = keystreamOf(key)
  const wrapped = Buffer.alloc(KEY_BYTES)
  for (let i = 0; i < KEY_BYTES; i++) wrapped[i] = (bytes[i] as number) ^ (stream[i] as number)
  return wrapped
}

/**
 * Given the bytes, Node first asks whether they are a CryptoKey, by an error with a stack trace: some 10 µs an object.
 */
const keyObject = ({ dataKey }: Randomness): KeyObject => createSecretKey(dataKey)

function headerOf(key: MasterKey, { dataKey, iv }: Randomness): Buffer {
  const id = Buffer.alloc(4)
  id.writeUInt32LE(key.id)
  return Buffer.concat([Buffer.from(VERSION), id, wrap(key.secret, iv), wrap(key.secret, dataKey)])
}

const startSealing = (random: Randomness, header: Buffer) =>
  createCipheriv('aes-256-gcm', keyObject(random), random.iv).setAAD(header)

/** Seals a body of unknown size; A1 has no need to know it. */
export async function* sealStream(body: Bytes, key: MasterKey, random = fresh()): Bytes {
  const header = headerOf(key, random)
  const cipher = startSealing(random, header)
  yield header
  for await (const chunk of body) for (const piece of pieces(chunk)) yield cipher.update(piece)
  cipher.final()
  yield cipher.getAuthTag()
}

function sealed(source: Source, key: MasterKey, random: Randomness): Source {
  const header = headerOf(key, random)
  const size = source.size + OVERHEAD_BYTES
  const tagAt = size - TAG_BYTES
  let tag: Buffer | undefined

  const whole = () => sealStream(openWhole(source), key, random)

  /**
   * The tag depends on every byte. When the parts were not read in their order, it takes one more pass over the source.
   */
  async function lastBytes(): Promise<Buffer> {
    let last: Uint8Array = header
    for await (const chunk of whole()) last = chunk
    return Buffer.from(last)
  }

  /**
   * Parts that are read one after the other, as an upload reads them, are encrypted by one cipher: it knows the tag
   * then.
   */
  let inTurn: { readonly cipher: ReturnType<typeof startSealing>; readonly at: number } | undefined

  async function* ciphertext(start: number, end: number): Bytes {
    const cipher = start === 0 ? startSealing(random, header) : inTurn?.at === start ? inTurn.cipher : undefined
    inTurn = undefined
    const encrypt = cipher
      ? (piece: Uint8Array) => [cipher.update(piece)]
      : gcmCounterMode(random.dataKey, random.iv, start)
    let at = start
    for await (const chunk of source.open({ start, end }))
      for (const piece of pieces(chunk)) {
        at += piece.byteLength
        yield* encrypt(piece)
      }
    if (cipher && at === end) inTurn = { cipher, at }
  }

  async function tagOf(): Promise<Buffer> {
    if (tag) return tag
    if (inTurn?.at === source.size) {
      inTurn.cipher.final()
      tag = inTurn.cipher.getAuthTag()
      inTurn = undefined
    }
    tag ??= await lastBytes()
    return tag
  }

  async function* part(range: Range): Bytes {
    if (range.start < HEADER_BYTES) yield header.subarray(range.start, range.end)
    const start = Math.max(range.start, HEADER_BYTES) - HEADER_BYTES
    const end = Math.min(range.end, tagAt) - HEADER_BYTES
    if (start < end) yield* ciphertext(start, end)
    if (range.end > tagAt) yield (await tagOf()).subarray(Math.max(range.start, tagAt) - tagAt, range.end - tagAt)
  }

  return { size, open: range => (range ? part(range) : whole()) }
}

async function* opened({ size, body, verified = false }: Content, keys: Keyring): Bytes {
  const tagAt = size - TAG_BYTES
  const header = Buffer.alloc(HEADER_BYTES)
  const tag = Buffer.alloc(TAG_BYTES)
  let decipher: ReturnType<typeof startOpening> | undefined
  let at = 0
  for await (const bytes of body) {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const end = at + chunk.byteLength
    if (end > size) throw damaged(`more than the announced ${size} bytes arrived`)
    if (at < HEADER_BYTES) chunk.copy(header, at)
    if (!decipher && end >= HEADER_BYTES) decipher = startOpening(header, keys)
    const from = Math.max(HEADER_BYTES - at, 0)
    const to = Math.min(chunk.byteLength, tagAt - at)
    if (decipher) for (const piece of pieces(chunk.subarray(from, Math.max(from, to)))) yield decipher.update(piece)
    if (end > tagAt) chunk.copy(tag, Math.max(at - tagAt, 0), Math.max(tagAt - at, 0))
    at = end
  }
  if (!decipher || at !== size) throw damaged(`only ${at} of ${size} bytes arrived`)
  try {
    decipher.setAuthTag(tag).final()
  } catch (cause) {
    throw new Fault('Corrupt', 'the object is not what was encrypted: its tag does not match its bytes', {
      cause,
      retryable: !verified, // the way to it may be to blame, unless these are the bytes that the store has
      remedy:
        'It was damaged or changed in the store, or a key file holds another key than the one it was encrypted with.',
    })
  }
}

/** Data key and IV that a header says its object was sealed with. Only the object's tag proves whether that is true. */
function randomnessOf(header: Buffer, keys: Keyring): Randomness {
  const id = keyIdOf(header)
  if (id === undefined)
    throw new Fault('Corrupt', 'the object is not encrypted in format A1', {
      remedy: 'If it was stored before encryption was turned on, set StorageEncryption.AllowUnencryptedRead to true.',
    })
  const { secret } = requireKey(keys, id)
  return { iv: wrap(secret, header.subarray(6, 38)), dataKey: wrap(secret, header.subarray(38, HEADER_BYTES)) }
}

function startOpening(header: Buffer, keys: Keyring) {
  const random = randomnessOf(header, keys)
  const options = { authTagLength: TAG_BYTES }
  return createDecipheriv('aes-256-gcm', keyObject(random), random.iv, options).setAAD(header)
}

function damaged(message: string): Fault {
  return new Fault('Corrupt', message, { retryable: true })
}
