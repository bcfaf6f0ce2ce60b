/** Azurite, Microsoft's emulator of Azure Storage, with an account of our own. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, type Running, startChild } from './child.ts'

export interface AzureSettings {
  readonly account: string
  readonly key: string
  /** Of the Blob service, with the account as its path. */
  readonly endpoint: string
}

export interface Azurite extends AzureSettings, Running {}

const PROGRAM = fileURLToPath(new URL('../node_modules/azurite/dist/src/blob/main.js', import.meta.url))

/** With `tls` (PEM files) it speaks https and takes tokens of Entra ID. It does not check their signatures. */
export async function startAzurite(folder: string, tls?: { cert: string; key: string }): Promise<Azurite> {
  const port = await freePort()
  const account = 'orthanctest'
  const key = randomBytes(64).toString('base64')
  const origin = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`
  const secure = tls ? ['--oauth', 'basic', '--cert', tls.cert, '--key', tls.key] : []
  const place = ['--blobHost', '127.0.0.1', '--blobPort', String(port), '--location', join(folder, 'data')]
  const { stop } = await startChild(
    process.execPath,
    [PROGRAM, ...place, '--silent', '--disableTelemetry', '--skipApiVersionCheck', ...secure],
    {
      log: join(folder, 'azurite.log'),
      env: { AZURITE_ACCOUNTS: `${account}:${key}` },
      ready: () => fetch(origin).catch(error => (isTlsError(error) ? undefined : Promise.reject(error))),
    },
  )
  return { account, key, endpoint: `${origin}/${account}`, stop }
}

/** It answers, with a certificate that this process has no reason to trust. */
function isTlsError(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error && 'code' in cause && /SELF_SIGNED|UNABLE_TO_VERIFY/.test(String(cause.code))
}

export function connectionString({ account, key, endpoint }: AzureSettings): string {
  return `DefaultEndpointsProtocol=http;AccountName=${account};AccountKey=${key};BlobEndpoint=${endpoint};`
}
