/** The package for Debian and what is made of it. dpkg-deb packs it; lintian looks at it in the tests. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { run } from '../harness/run.ts'
import type { Architecture } from './architectures.ts'
import { DOCUMENTATION, type Ingredients, installedFiles, SAMPLE } from './files.ts'
import { GLIBC } from './library.ts'
import { finish, install, write } from './tree.ts'

const OVERRIDES = '/usr/share/lintian/overrides/orthanc-cloud-storage'

export interface Release {
  readonly root: string
  readonly version: string
  /** Name and address, as `author` of package.json has them. */
  readonly maintainer: string
  /** Seconds since 1970 of the commit. */
  readonly time: number
  /** Of compression: 1 to 9. */
  readonly level: number
}

export async function makeDeb(
  release: Release,
  { debian }: Architecture,
  ingredients: Ingredients,
  folder: string,
  target: string,
): Promise<string> {
  const { root, version, time, level } = release
  const tree = join(folder, 'deb')
  install(tree, installedFiles(ingredients))
  write(tree, `${DOCUMENTATION}/copyright`, readFileSync(join(root, 'packaging', 'files', 'copyright')))
  write(tree, `${DOCUMENTATION}/THIRD-PARTY-NOTICES.txt.gz`, packed(join(root, 'dist', 'THIRD-PARTY-NOTICES.txt')))
  write(tree, `${DOCUMENTATION}/changelog.gz`, gzipSync(changelog(release), { level: 9 }))
  write(tree, OVERRIDES, readFileSync(join(root, 'packaging', 'files', 'lintian-overrides')))
  for (const script of ['postinst', 'postrm'])
    write(tree, `/DEBIAN/${script}`, readFileSync(join(root, 'packaging', 'files', script)), 0o755)
  write(tree, '/DEBIAN/triggers', 'interest-noawait /usr/sbin/Orthanc\n')
  write(tree, '/DEBIAN/conffiles', `${SAMPLE}\n`)
  write(tree, '/DEBIAN/control', control(release, debian, sizeOf(tree)))
  finish(tree, time)
  const file = join(target, `orthanc-cloud-storage_${version}_${debian}.deb`)
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(time) }
  await run('dpkg-deb', ['--root-owner-group', '-Zxz', `-z${Math.min(level, 6)}`, '--build', tree, file], { env })
  return file
}

const packed = (file: string) => gzipSync(readFileSync(file), { level: 9 })

/** In kilobytes, counted as dpkg-gencontrol does: the same on each file system. */
function sizeOf(tree: string): number {
  const installed = readdirSync(tree, { recursive: true, encoding: 'utf8' }).filter(name => !name.startsWith('DEBIAN'))
  const sizes = installed.map(name => statSync(join(tree, name)))
  return sizes.reduce((sum, stat) => sum + (stat.isFile() ? Math.ceil(stat.size / 1024) : 1), 0)
}

function control({ version, maintainer }: Release, architecture: string, kilobytes: number): string {
  return `Package: orthanc-cloud-storage
Version: ${version}
Architecture: ${architecture}
Maintainer: ${maintainer}
Installed-Size: ${kilobytes}
Depends: libc6 (>= ${GLIBC}), libgcc-s1 | libgcc1, libstdc++6 (>= 5.2)
Recommends: orthanc (>= 1.9.0)
Section: science
Priority: optional
Description: Cloud object storage for the Orthanc DICOM server
 A plugin that keeps Orthanc's files in Amazon S3 and compatible servers, Azure
 Blob Storage, Google Cloud Storage or a folder, and a command line. It takes
 the place of the official Cloud Object Storage plugins, with the same
 configuration sections, object keys and encrypted bytes.
 .
 It brings its own Node.js. It does nothing until Orthanc's configuration has a
 section of a provider.
`
}

function changelog({ version, maintainer, time }: Release): string {
  const date = new Date(time * 1000).toUTCString().replace('GMT', '+0000')
  return `orthanc-cloud-storage (${version}) unstable; urgency=medium

  * See CHANGELOG.md of the sources.

 -- ${maintainer}  ${date}
`
}
