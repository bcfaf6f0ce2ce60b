/** Copies what is installed into a folder that stands for `/`, with the same modes and times on every machine. */
import { chmodSync, copyFileSync, lstatSync, lutimesSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { PackagedFile } from './files.ts'

export function install(tree: string, files: readonly PackagedFile[]): void {
  for (const { from, to, mode } of files) {
    const target = join(tree, to)
    mkdirSync(dirname(target), { recursive: true })
    copyFileSync(from, target)
    chmodSync(target, mode)
  }
}

export function write(tree: string, path: string, text: string | Uint8Array, mode = 0o644): void {
  const target = join(tree, path)
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, text)
  chmodSync(target, mode)
}

/** The same modes of folders whatever the umask. `seconds`: since 1970, of every file and folder of a package. */
export function finish(tree: string, seconds: number): void {
  for (const name of [...readdirSync(tree, { recursive: true, encoding: 'utf8' }), '']) {
    const path = join(tree, name)
    if (lstatSync(path).isDirectory()) chmodSync(path, 0o755)
    lutimesSync(path, seconds, seconds)
  }
}
