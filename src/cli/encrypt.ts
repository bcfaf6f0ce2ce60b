import { amount } from '../bytes.ts'
import { sealStream } from '../seal/a1.ts'
import { openInput } from './input.ts'
import { type KeyOption, loadKey } from './key-option.ts'
import { checkOutput, writeOutput } from './output.ts'
import { withProgress } from './progress.ts'
import { interruption } from './terminal.ts'

export interface EncryptOptions {
  readonly masterKey: KeyOption
  readonly force?: boolean
}

export async function encrypt(from: string, to: string, { masterKey, force = false }: EncryptOptions): Promise<void> {
  const key = loadKey(masterKey)
  await checkOutput(to, { force })
  const input = await openInput(from, interruption())
  const position = () => ({
    share: input.size === undefined ? undefined : input.position / input.size,
    text: `${amount(input.position)} encrypted`,
  })
  try {
    await withProgress(position, () => writeOutput(to, sealStream(input.open(), key), { force, mode: 0o666 }))
  } finally {
    await input.close()
  }
}
