/** The archive for every other Linux: the same files in one folder, and install.sh, which puts them where they belong. */
import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../harness/run.ts'
import type { Architecture } from './architectures.ts'
import type { Release } from './deb.ts'
import { DOCUMENTATION, type Ingredients, installedFiles } from './files.ts'
import { finish, install, write } from './tree.ts'

export async function makeTarball(
  { root, version, time, level }: Release,
  { debian }: Architecture,
  ingredients: Ingredients,
  folder: string,
  target: string,
): Promise<string> {
  const name = `orthanc-cloud-storage-${version}-linux-${debian}`
  const tree = join(folder, 'tar')
  const files = installedFiles(ingredients)
  install(join(tree, name), files)
  const own = (file: string) => readFileSync(join(root, 'packaging', 'files', file))
  write(join(tree, name), 'install.sh', own('install.sh'), 0o755)
  write(join(tree, name), 'LICENSE', readFileSync(join(root, 'LICENSE')))
  for (const [from, file] of [
    ['.', 'LICENSE'],
    ['dist', 'THIRD-PARTY-NOTICES.txt'],
  ] as const)
    write(join(tree, name), `${DOCUMENTATION}/${file}`, readFileSync(join(root, from, file)))
  finish(tree, time)
  const file = join(target, `${name}.tar.gz`)
  const order = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', `--mtime=@${time}`]
  const plain = join(folder, `${name}.tar`)
  await run('tar', ['--create', ...order, '--file', plain, '--directory', tree, name])
  await run('gzip', ['--no-name', `-${level}`, '--force', plain])
  renameSync(`${plain}.gz`, file)
  return file
}
