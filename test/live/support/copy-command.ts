/** `copy` as a process, from one configuration to another. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { program } from '../../support/program.ts'

export interface Copied {
  readonly code: number | null
  readonly stderr: string
  readonly lines: readonly Record<string, unknown>[]
  readonly summary: Readonly<Record<string, unknown>>
}

/** `folder`: for the configurations. */
export function startCopy(
  folder: string,
  from: object,
  to: object,
  ...more: readonly string[]
): { readonly child: ChildProcess; readonly ended: Promise<Copied> } {
  const files = [from, to].map(config => {
    const file = join(folder, `${randomUUID()}.json`)
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
    return file
  }) as [string, string]
  const [node = '', ...script] = program
  const args = [...script, 'copy', '--from', files[0], '--to', files[1], '--json', '-', ...more]
  const child = spawn(node, args, { env: { ...process.env, TMPDIR: folder } })
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', text => (said.stdout += text))
  child.stderr.on('data', text => (said.stderr += text))
  const ended = new Promise<Copied>(resolve =>
    child.once('close', code => {
      const all = said.stdout.split('\n').filter(line => line !== '')
      const lines = all.map(line => JSON.parse(line))
      resolve({ code, stderr: said.stderr, lines, summary: lines.find(({ kind }) => kind === 'summary') ?? {} })
    }),
  )
  return { child, ended }
}
