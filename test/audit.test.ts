/**
 * The audit of dependencies, by the real npm, of a registry that is a stub: which advisories there are is not ours to
 * choose.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { LONG } from './support/long.ts'

const script = new URL('../scripts/audit.mjs', import.meta.url).pathname
const advisory = (severity: string) => ({
  undici: [{ id: 1, url: 'https://advisories.example/1', title: 'a hole', severity, vulnerable_versions: '*' }],
})

describe('the audit of dependencies', () => {
  const audit = async (status: number, body: object, env: Record<string, string> = {}) => {
    const npm_config_cache = mkdtempSync(join(tmpdir(), 'ocs-audit-'))
    const server = createServer((request, response) => {
      const packument = { name: 'undici', 'dist-tags': {}, versions: {} }
      request.resume().on('end', () => {
        if (request.method === 'GET') response.end(JSON.stringify(packument))
        else response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      })
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const npm_config_registry = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    try {
      return await new Promise<{ code: unknown; said: string }>(resolve => {
        const options = { env: { ...process.env, npm_config_registry, npm_config_cache, ...env } }
        execFile(process.execPath, [script], options, (error, stdout, stderr) =>
          resolve({ code: error?.code ?? 0, said: stdout + stderr }),
        )
      })
    } finally {
      server.closeAllConnections()
      server.close()
      rmSync(npm_config_cache, { recursive: true, force: true })
    }
  }

  it('fails when something that is shipped has a vulnerability that is high', async () => {
    const { code, said } = await audit(200, advisory('high'))
    assert.equal(code, 1, said)
    assert.match(said, /high: undici .*a hole \(https:\/\/advisories\.example\/1\)/)
  })

  if (LONG)
    it('tells of lower ones, and passes', async () => {
      const { code, said } = await audit(200, advisory('moderate'))
      assert.equal(code, 0, said)
      assert.match(said, /moderate: undici[\s\S]*No known vulnerability that is high or critical; [1-9]/)
    })

  it('says loudly that a registry does not answer, and fails only where it must', async () => {
    const modes = [
      ['', 0],
      ['required', 1],
    ] as const
    for (const [AUDIT, expected] of LONG ? modes : modes.slice(0, 1)) {
      const { code, said } = await audit(405, {}, { AUDIT })
      assert.equal(code, expected, said)
      assert.match(said, /NOT AUDITED: .*405/)
    }
  })
})
