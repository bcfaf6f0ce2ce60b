/** The Node.js that packages bring: the one of the npm packages `node-linux-*`, as package-lock.json pins them. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cached } from '../harness/cached.ts'
import { run } from '../harness/run.ts'
import type { Architecture } from './architectures.ts'

interface Locked {
  readonly version: string
  /** As npm writes it: `sha512-` and base64. */
  readonly integrity: string
}

export interface NodeProgram {
  readonly version: string
  readonly program: string
  readonly license: string
}

export async function nodeFor(root: string, { node }: Architecture): Promise<NodeProgram> {
  const name = `node-linux-${node}`
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  const { version, integrity }: Locked = lock.packages[`node_modules/${name}`]
  const folder = await cached(`${name}@${version}`, async making => {
    const packed = await run('npm', ['pack', '--silent', '--pack-destination', making, `${name}@${version}`])
    const archive = join(making, packed.trim())
    const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`
    if (found !== integrity) throw new Error(`${name}@${version} is not what package-lock.json has: ${found}`)
    await run('tar', ['--extract', '--gzip', '--file', archive, '--directory', making])
  })
  const inside = (path: string) => join(folder, 'package', path)
  return { version, program: inside('bin/node'), license: inside('LICENSE') }
}
