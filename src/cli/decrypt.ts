import { amount, type Bytes } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { a1, ID_BYTES, keyIdOf } from '../seal/a1.ts'
import { type Keyring, keyring } from '../seal/keyring.ts'
import { type Input, openTwice } from './input.ts'
import { type KeyOption, loadKey } from './key-option.ts'
import { checkOutput, writeOutput } from './output.ts'
import { withProgress } from './progress.ts'
import { interruption } from './terminal.ts'

export interface DecryptOptions {
  readonly masterKey: readonly KeyOption[]
  readonly force?: boolean
}

export async function decrypt(from: string, to: string, { masterKey, force = false }: DecryptOptions): Promise<void> {
  const keys = keyring(undefined, masterKey.map(loadKey))
  await checkOutput(to, { force })
  const input = await openTwice(from, interruption())
  let verb = 'decrypted'
  const position = () => ({ share: input.position / input.size, text: `${amount(input.position)} ${verb}` })
  try {
    await checkKey(input, keys)
    await withProgress(position, async () => {
      if (to === '-') {
        // Nothing can be taken back from standard output, so first all of it is verified.
        verb = 'verified'
        for await (const _ of plaintext(input, keys));
        verb = 'decrypted'
      }
      const written = writeOutput(to, plaintext(input, keys), { force, mode: 0o600 })
      await (to === '-' ? written.catch(discardOutput) : written)
    })
  } finally {
    await input.close()
  }
}

async function* plaintext(input: Input & { readonly size: number }, keys: Keyring): Bytes {
  try {
    yield* a1(keys).unseal({ size: input.size, body: input.open() }).body
  } catch (error) {
    throw Fault.from(error, { verb: 'decrypt', key: input.name })
  }
}

/** Checked here, because the remedies of the envelope's faults are about Orthanc's configuration. */
async function checkKey(input: Input & { readonly size: number }, keys: Keyring): Promise<void> {
  const id = keyIdOf(await firstBytes(input))
  if (id === undefined) throw new Fault('Corrupt', `${input.name} is not encrypted in format A1`)
  if (!keys.find(id))
    throw new Fault('BadConfig', `${input.name} is encrypted under master key ${id}, which was not given`, {
      remedy: `Add --master-key ${id}:FILE.`,
    })
}

async function firstBytes(input: Input & { readonly size: number }): Promise<Buffer> {
  for await (const chunk of input.open())
    return Buffer.from(chunk.buffer, chunk.byteOffset, Math.min(chunk.byteLength, ID_BYTES))
  return Buffer.alloc(0)
}

function discardOutput(error: unknown): never {
  const remedy = 'Discard what was written to standard output: it is incomplete.'
  throw Fault.from(error).with({ cause: error, remedy })
}
