/** The packages as they are installed: built, looked at by Debian's own tools, and used by the real Orthanc. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { startOrthanc } from '../../harness/orthanc.ts'
import { HOME, PLUGINS } from '../../packaging/files.ts'
import { GLIBC } from '../../packaging/library.ts'
import { LONG } from '../support/long.ts'
import { buildElsewhere } from './support/builds.ts'

const root = join(import.meta.dirname, '..', '..')
const packages = join(root, 'dist', 'packages')
const skip = LONG ? false : 'only in npm run test:long: it fetches a compiler and takes minutes'
const text = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: 'utf8' })

describe('a package', { skip }, () => {
  let folder: string
  let deb: string
  const tree = () => join(folder, 'tree')
  const library = () => join(tree(), PLUGINS, 'libOrthancCloudStorage.so')

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-packages-'))
    text(process.execPath, join(root, 'packaging', 'package.ts'))
    deb = join(packages, readdirSync(packages).find(name => name.endsWith('_amd64.deb')) ?? 'none')
    text('dpkg-deb', '--extract', deb, tree())
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('has a library that needs no newer glibc than it says, on each machine', () => {
    for (const machine of ['amd64', 'arm64']) {
      const file = join(root, 'build', 'package', machine, 'libOrthancCloudStorage.so')
      const versions = [...text('readelf', '--version-info', '--wide', file).matchAll(/GLIBC_2\.(\d+)/g)]
      const newest = Math.max(...versions.map(([, minor]) => Number(minor)))
      assert.ok(newest <= Number(GLIBC.slice(2)), `2.${newest} on ${machine}`)
      const needed = [...text('readelf', '--dynamic', '--wide', file).matchAll(/NEEDED.*\[(.*)\]/g)].map(
        ([, name]) => name,
      )
      assert.deepEqual(
        needed.filter(name => !/^(ld-linux-.*|lib(c|dl|pthread|m))\.so\.\d+$/.test(name ?? '')),
        [],
      )
    }
  })

  it('is as Debian wants it, but for what the package names', () => {
    assert.equal(text('lintian', '--fail-on', 'none', deb).trim(), '')
  })

  it('stores and gives back a file in the real Orthanc, with its own Node.js', async () => {
    const orthanc = await startOrthanc({
      dir: join(folder, 'orthanc'),
      plugin: library(),
      config: {
        DirectoryStorage: { Path: join(folder, 'objects') },
        CloudStorage: { Engine: join(tree(), HOME, 'engine.mjs'), Node: join(tree(), HOME, 'node') },
      },
    })
    try {
      const image = makeImage({ seed: 1, rows: 64, columns: 64 })
      const { ID } = await orthanc.postJson('/instances', image)
      const back = await fetch(`${orthanc.url}/instances/${ID}/file`)
      assert.deepEqual(Buffer.from(await back.arrayBuffer()), Buffer.from(image))
      assert.equal(text('readlink', `/proc/${orthanc.enginePid()}/exe`).trim(), join(tree(), HOME, 'node'))
    } finally {
      await orthanc.stop()
    }
  })

  it('is smaller than 60 MB', () => {
    for (const name of readdirSync(packages)) assert.ok(statSync(join(packages, name)).size < 60e6, name)
  })

  it('has the same bytes when it is made from a clone in another folder, with another umask and time zone', async () => {
    const time = text('git', '-C', root, 'log', '-1', '--format=%ct').trim()
    const env = { TZ: 'Pacific/Auckland', LC_ALL: 'C.UTF-8', SOURCE_DATE_EPOCH: time }
    const { packages: others } = await buildElsewhere(join(folder, 'clone'), { umask: '077', env })
    const bytes = (place: string, name: string) => readFileSync(join(place, name))
    const names = readdirSync(others).filter(name => name !== 'SHA256SUMS')
    assert.equal(names.length, 5)
    for (const name of names) assert.ok(bytes(packages, name).equals(bytes(others, name)), name)
  })

  it('has a checksum for each file, and a list of what is inside', () => {
    const sums = readFileSync(join(packages, 'SHA256SUMS'), 'utf8')
      .trim()
      .split('\n')
      .map(line => line.split('  '))
    assert.deepEqual(
      sums.map(([, name]) => name),
      readdirSync(packages)
        .filter(name => name !== 'SHA256SUMS')
        .sort(),
    )
    for (const [sum, name = ''] of sums)
      assert.equal(
        createHash('sha256')
          .update(readFileSync(join(packages, name)))
          .digest('hex'),
        sum,
        name,
      )
    const { components } = JSON.parse(readFileSync(join(packages, 'sbom.cdx.json'), 'utf8'))
    for (const part of ['undici', 'node'])
      assert.ok(
        components.some(({ name }: { name: string }) => name === part),
        part,
      )
  })
})
