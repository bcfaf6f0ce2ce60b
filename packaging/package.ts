/** npm run package: the packages that a site installs, in dist/packages/. */
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Command } from 'commander'
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
    say(await makeDeb(release, architecture, ingredients, folder, target))
    say(await makeTarball(release, architecture, ingredients, folder, target))
    const symbols = join(target, `libOrthancCloudStorage_${version}_${architecture.debian}.so.debug`)
    copyFileSync(library.symbols, symbols)
    say(symbols)
  }
  copyFileSync(join(root, 'dist', 'THIRD-PARTY-NOTICES.txt'), join(target, 'THIRD-PARTY-NOTICES.txt'))
  writeFileSync(join(target, 'sbom.cdx.json'), await softwareBill(release, nodeVersion))
  writeFileSync(join(target, 'SHA256SUMS'), sums(target))
}

/** Or what the environment says, as https://reproducible-builds.org/specs/source-date-epoch has it. */
async function timeOfCommit(): Promise<number> {
  return Number(process.env['SOURCE_DATE_EPOCH'] ?? (await run('git', ['log', '-1', '--format=%ct'], { cwd: root })))
}

function sums(folder: string): string {
  const line = (name: string) =>
    `${createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex')}  ${name}\n`
  return readdirSync(folder).sort().map(line).join('')
}

function say(file: string): void {
  process.stdout.write(`${basename(file)}\n`)
}

await new Command('npm run package --')
  .description('Makes the packages that a site installs, in dist/packages/.')
  .argument(
    '[ARCHITECTURE...]',
    `for which machines: ${architectures.map(({ debian }) => debian).join(', ')}; all without one`,
  )
  .option('--fast', 'compresses little: for tests')
  .action(main)
  .parseAsync()
