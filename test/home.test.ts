/** A user id that no list of users has, as OpenShift gives them, and no HOME. Only root can become such a user. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { undo } from './support/undo.ts'

const isRoot = process.geteuid?.() === 0

describe('a home folder', { skip: isRoot ? false : 'only root can be another user' }, () => {
  const asNobodyKnown = (script: string, environment: Record<string, string> = {}) => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-home-'))
    undo.push(() => rmSync(folder, { recursive: true, force: true }))
    copyFileSync(join(import.meta.dirname, '..', 'src', 'home.ts'), join(folder, 'home.ts'))
    chmodSync(folder, 0o755)
    const user = ['--reuid', '1000730000', '--regid', '0', '--clear-groups', '--']
    const node = [process.execPath, '--no-warnings', '--input-type=module', '-e', script, join(folder, 'home.ts')]
    const options = { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', ...environment } } as const
    return spawnSync('setpriv', [...user, ...node], options)
  }
  const show = "const { homedir } = await import('node:os'); console.log(homedir())"
  const ensure = '(await import(process.argv[1])).ensureHome();'

  it('is missing without us: Node says so by an error', () => {
    assert.match(asNobodyKnown(show).stderr, /uv_os_homedir returned ENOENT/)
  })

  it('is / where none is known, and stays what HOME says', () => {
    assert.equal(asNobodyKnown(ensure + show).stdout.trim(), '/')
    assert.equal(asNobodyKnown(ensure + show, { HOME: '/var/lib/orthanc' }).stdout.trim(), '/var/lib/orthanc')
  })
})
