/** npm run package: the packages that a site installs, in dist/packages/. */
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Argument, Command } from 'commander'
import { run } from '../harness/run.ts'
import { architectures } from './architectures.ts'
import { makeDeb, type Release } from './deb.ts'
import { buildLibrary } from './library.ts'
import { nodeFor } from './node.ts'
import { softwareBill } from './sbom.ts'
import { makeTarball } from './tarball.ts'

const root = dirname(import.meta.dirname)

async function main(wanted: readonly string[], { fast }: { fast?: boolean }): Promise<void> {
  const { version, author } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const release: Release = { root, version, maintainer: author, time: await timeOfCommit(), level: fast ? 1 : 9 }
  const target = join(root, 'dist', 'packages')
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  let nodeVersion = ''
  for (const architecture of architectures.filter(({ debian }) => wanted.length === 0 || wanted.includes(debian))) {
    const folder = join(root, 'build', 'package', architecture.debian)
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    const library = await buildLibrary(root, folder, version, architecture)
    const node = await nodeFor(root, architecture)
    nodeVersion = node.version
    const ingredients = { root, library: library.file, node: node.program }
    await makeDeb(release, architecture, ingredients, folder, target)
    await makeTarball(release, architecture, ingredients, folder, target)
    copyFileSync(library.symbols, join(target, `libOrthancCloudStorage_${version}_${architecture.debian}.so.debug`))
  }
  copyFileSync(join(root, 'dist', 'THIRD-PARTY-NOTICES.txt'), join(target, 'THIRD-PARTY-NOTICES.txt'))
  writeFileSync(join(target, 'sbom.cdx.json'), await softwareBill(release, nodeVersion))
  writeFileSync(join(target, 'SHA256SUMS'), sums(target))
  for (const name of readdirSync(target).sort()) process.stdout.write(`${join('dist', 'packages', name)}\n`)
}

/** Or what the environment says, as https://reproducible-builds.org/specs/source-date-epoch has it. */
async function timeOfCommit(): Promise<number> {
  const given = process.env['SOURCE_DATE_EPOCH']
  if (given) return Number(given)
  return Number(
    await run('git', ['log', '-1', '--format=%ct'], { cwd: root }).catch(error => {
      throw new Error('This is no clone of git: set SOURCE_DATE_EPOCH to the time of the sources', { cause: error })
    }),
  )
}

function sums(folder: string): string {
  const line = (name: string) =>
    `${createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex')}  ${name}\n`
  return readdirSync(folder).sort().map(line).join('')
}

await new Command('npm run package --')
  .description('Makes the folder dist/packages/ anew, with the packages that a site installs. It takes some minutes.')
  .addArgument(
    new Argument('[ARCHITECTURE...]', 'for which machines; all without one').choices(
      architectures.map(({ debian }) => debian),
    ),
  )
  .option('--fast', 'compresses little: for tests')
  .action(main)
  .parseAsync()
