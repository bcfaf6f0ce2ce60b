/** The package for Debian and what is made of it. dpkg-deb packs it; lintian looks at it in the tests. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { run } from '../harness/run.ts'
import type { Architecture } from './architectures.ts'
import { DOCUMENTATION, type Ingredients, installedFiles, SAMPLE } from './files.ts'
import { GLIBC } from './library.ts'
import { install, setTimes, write } from './tree.ts'

const OVERRIDES = '/usr/share/lintian/overrides/orthanc-cloud-storage'

export interface Release {
  readonly root: string
  readonly version: string
  /** Seconds since 1970 of the commit. */
  readonly time: number
}

export async function makeDeb(
  release: Release,
  { debian }: Architecture,
  ingredients: Ingredients,
  folder: string,
  target: string,
): Promise<string> {
  const { root, version, time } = release
  const tree = join(folder, 'deb')
  install(tree, installedFiles(ingredients))
  for (const page of ['configuration.md', 'providers.md', 'encryption.md', 'operations.md'])
    write(tree, `${DOCUMENTATION}/${page}`, readFileSync(join(root, 'docs', page)))
  write(tree, `${DOCUMENTATION}/copyright`, readFileSync(join(root, 'packaging', 'files', 'copyright')))
  write(tree, `${DOCUMENTATION}/THIRD-PARTY-NOTICES.txt.gz`, packed(join(root, 'dist', 'THIRD-PARTY-NOTICES.txt')))
  write(tree, `${DOCUMENTATION}/changelog.gz`, gzipSync(changelog(release), { level: 9 }))
  write(tree, OVERRIDES, readFileSync(join(root, 'packaging', 'files', 'lintian-overrides')))
  write(tree, '/DEBIAN/postinst', readFileSync(join(root, 'packaging', 'files', 'postinst')), 0o755)
  write(tree, '/DEBIAN/conffiles', `${SAMPLE}\n`)
  write(tree, '/DEBIAN/control', control(version, debian, await sizeOf(tree)))
  setTimes(tree, time)
  const file = join(target, `orthanc-cloud-storage_${version}_${debian}.deb`)
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(time) }
  await run('dpkg-deb', ['--root-owner-group', '-Zxz', '-z6', '--build', tree, file], { env })
  return file
}

const packed = (file: string) => gzipSync(readFileSync(file), { level: 9 })

async function sizeOf(tree: string): Promise<number> {
  return Number((await run('du', ['--summarize', '--apparent-size', '--block-size=1024', tree])).split('\t')[0])
}

function control(version: string, architecture: string, kilobytes: number): string {
  return `Package: orthanc-cloud-storage
Version: ${version}
Architecture: ${architecture}
Maintainer: orthanc-cloud-storage <orthanc-cloud-storage@localhost>
Installed-Size: ${kilobytes}
Depends: libc6 (>= ${GLIBC})
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

function changelog({ version, time }: Release): string {
  const date = new Date(time * 1000).toUTCString().replace('GMT', '+0000')
  return `orthanc-cloud-storage (${version}) unstable; urgency=medium

  * See CHANGELOG.md of the sources.

 -- orthanc-cloud-storage <orthanc-cloud-storage@localhost>  ${date}
`
}
