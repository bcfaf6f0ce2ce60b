/** How fast one core seals and unseals in format A1, beside `openssl speed` in the same minute. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Bytes, checkedContent, type Source } from '../src/bytes.ts'
import { a1 } from '../src/seal/a1.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'

export interface SealFigures {
  /** GB/s of plain bytes, in chunks of CHUNK_BYTES. */
  readonly seal: number
  readonly unseal: number
  readonly openssl: number
}

export const CHUNK_BYTES = 512 * 1024
const TOTAL_BYTES = 2 ** 30
const ROUNDS = 5

export async function measureSealing(): Promise<SealFigures> {
  const envelope = a1(keyring(masterKey(1, Buffer.alloc(32, 1).toString('base64')), []))
  const chunk = Buffer.alloc(CHUNK_BYTES, 'a')
  const source: Source = {
    size: TOTAL_BYTES,
    async *open() {
      for (let at = 0; at < TOTAL_BYTES; at += CHUNK_BYTES) yield chunk
    },
  }
  const seal: number[] = []
  const unseal: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    seal.push(await speedOf(envelope.seal(source).open()))
    const sealed: Buffer[] = []
    for await (const bytes of envelope.seal(source).open()) sealed.push(Buffer.from(bytes))
    const body = (async function* () {
      yield* sealed
    })()
    unseal.push(await speedOf(envelope.unseal(checkedContent(envelope.sealedSize(TOTAL_BYTES), body)).body))
  }
  return { seal: best(seal), unseal: best(unseal), openssl: await opensslSpeed() }
}

async function speedOf(body: Bytes): Promise<number> {
  const began = performance.now()
  for await (const _ of body);
  return TOTAL_BYTES / 1e6 / (performance.now() - began)
}

const best = (figures: readonly number[]) => Math.max(...figures)

async function opensslSpeed(): Promise<number> {
  const args = ['speed', '-elapsed', '-evp', 'aes-256-gcm', '-bytes', String(CHUNK_BYTES), '-seconds', '3']
  const { stdout } = await promisify(execFile)('openssl', args)
  return Number(/AES-256-GCM\s+([\d.]+)k/i.exec(stdout)?.[1]) / 1e6
}
