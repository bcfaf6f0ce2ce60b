/** The packages on machines that have never seen the project: installed, used, updated, removed. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { SAMPLE } from '../../packaging/files.ts'
import { LONG } from '../support/long.ts'
import { buildElsewhere } from './support/builds.ts'
import { Clinic } from './support/clinic.ts'
import { s3Place } from './support/places.ts'
import { liveServer } from './support/servers.ts'

/** Of each package: this version, and one with a higher number. */
type Pair = readonly [string, string]

const notRoot = process.getuid?.() === 0 ? undefined : 'Debian trees are made and used by root'
if (LONG && notRoot && process.env['LIVE'] === 'required') throw new Error(`LIVE=required, but ${notRoot}`)
if (LONG && notRoot) process.stderr.write(`\nSKIPPED: ${process.argv[1]}: ${notRoot}\n\n`)
const minio = LONG && !notRoot ? liveServer('minio') : undefined
const skip = minio ? false : 'only in npm run test:long, as root: it makes Debian trees and builds two packages'

/** A section AwsS3Storage with a new bucket. */
async function bucket(): Promise<Record<string, unknown>> {
  const { config, dispose } = await s3Place({ VirtualAddressing: false }, minio)
  await dispose()
  return config['AwsS3Storage'] as Record<string, unknown>
}

describe('a package on a machine that has never seen the project', { skip }, () => {
  let folder: string
  let debs: Pair
  let archives: Pair
  let versions: Pair
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-newcomers-'))
    const builds = [
      await buildElsewhere(join(folder, 'first'), { fast: true }),
      await buildElsewhere(join(folder, 'second'), { fast: true, next: true }),
    ]
    const each = (end: string) =>
      builds.map(({ packages }) =>
        join(packages, readdirSync(packages).find(name => name.endsWith(end)) ?? `none with ${end}`),
      ) as unknown as Pair
    debs = each('.deb')
    archives = each('.tar.gz')
    versions = builds.map(({ version }) => version) as unknown as Pair
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  for (const release of ['trixie', 'bookworm'] as const)
    describe(`the .deb on Debian ${release}`, () => {
      let clinic: Clinic
      /** All that is there beside our package. */
      let others: readonly string[]
      before(async () => {
        clinic = await Clinic.open(release, join(folder, release))
      })
      after(() => clinic?.close())
      const apt = (words: string) => clinic.machine.run(`apt-get --yes ${words}`)

      it('brings Orthanc, which starts without it while the sample is as it is', async () => {
        assert.match(await apt(`install ${clinic.machine.bring(debs[0])}`), /Setting up orthanc \(/)
        others = clinic.machine.files().filter(path => !/cloud-?storage/i.test(path))
        assert.equal(await clinic.machine.run('command -v node || true'), '')
        const orthanc = await clinic.start()
        await orthanc.logged(/the plugin is disabled/)
        await clinic.stop()
      })

      it('keeps the sample, where keys will be, from other users', async () => {
        assert.equal(await clinic.machine.run(`stat -c '%a %U:%G' ${SAMPLE}`), '640 root:orthanc\n')
      })

      it('stores in a folder, with that section of the sample', async () => {
        await clinic.machine.run('mkdir /mnt/images; chown orthanc:orthanc /mnt/images')
        assert.match(await clinic.configure('DirectoryStorage'), /is valid and directory:.* can be used/)
        await clinic.start()
        await clinic.work()
        await clinic.stop()
        assert.match(await clinic.machine.run('ls /mnt/images'), /\.dcm$/m)
        await clinic.machine.run('rm -r /mnt/images')
        clinic.forget()
      })

      it('stores in an S3 server, with that section of the sample', async () => {
        assert.match(await clinic.configure('AwsS3Storage', await bucket()), /is valid and s3:e2e-\S+ answers/)
        await clinic.start()
        await clinic.work()
      })

      it('is updated while Orthanc runs, which goes on and is to be restarted', async () => {
        const { orthanc, machine } = clinic
        // As an unattended update keeps a sample that was changed.
        const said = await apt(`-o Dpkg::Options::=--force-confold install ${machine.bring(debs[1])}`)
        assert.match(said, new RegExp(`Restart Orthanc: process ${orthanc.pid} still runs the version before`))
        await clinic.work()
        const engine = orthanc.enginePid() as number
        process.kill(engine, 'SIGKILL')
        await clinic.work() // the next engine is that of the new version
        assert.notEqual(orthanc.enginePid(), engine)
        await clinic.restart()
        await clinic.work()
        assert.equal((await clinic.orthanc.getJson('/plugins/cloud-storage')).Version, versions[1])
        assert.equal(await machine.run('orthanc-cloud-storage --version'), `${versions[1]}\n`)
      })

      it('completes its commands in bash', async () => {
        await apt('install bash-completion')
        const script = `. /usr/share/bash-completion/bash_completion
          { _comp_load orthanc-cloud-storage || _completion_loader orthanc-cloud-storage; } 2> /dev/null
          COMP_WORDS=(orthanc-cloud-storage ro); COMP_CWORD=1
          _orthanc_cloud_storage; echo "\${COMPREPLY[@]}"`
        assert.equal(await clinic.machine.run(`bash -c '${script}'`), 'rotate-keys\n')
        await apt('purge bash-completion')
      })

      it('is removed while Orthanc runs, which goes on until it is restarted, and hears what follows then', async () => {
        const { pid } = clinic.orthanc
        assert.match(await apt('remove orthanc-cloud-storage'), new RegExp(`process ${pid}\\) still runs with it`))
        await clinic.work()
        clinic.forget()
        await clinic.restart()
        await clinic.work()
        await clinic.stop()
      })

      it('leaves nothing', async () => {
        await apt('purge orthanc-cloud-storage')
        assert.deepEqual(
          clinic.machine.files().filter(path => !others.includes(path)),
          [],
        )
      })
    })

  describe('the archive on Debian bullseye, with Orthanc 1.9.1', () => {
    let clinic: Clinic
    let untouched: readonly string[]
    before(async () => {
      clinic = await Clinic.open('bullseye', join(folder, 'bullseye'))
      await clinic.machine.run('apt-get install --yes orthanc')
      untouched = clinic.machine.files()
    })
    after(() => clinic?.close())
    const unpacked = (file: string) => `/root/${basename(file, '.tar.gz')}`
    const install = (file: string) =>
      clinic.machine.run(`cd /root && tar -xzf ${clinic.machine.bring(file)} && ${unpacked(file)}/install.sh`)

    it('is installed, and stores in an S3 server', async () => {
      assert.match(await install(archives[0]), /^Installed\. Name one provider.*restart Orthanc\.$/m)
      assert.equal(await clinic.machine.run(`stat -c '%a %U:%G' ${SAMPLE}`), '640 root:orthanc\n')
      assert.match(await clinic.configure('AwsS3Storage', await bucket()), /is valid and s3:e2e-\S+ answers/)
      const orthanc = await clinic.start()
      assert.equal((await orthanc.getJson('/system')).Version, '1.9.1')
      await clinic.work()
    })

    it('is updated while Orthanc runs', async () => {
      assert.match(await install(archives[1]), /^Updated\. Restart Orthanc/m)
      await clinic.work()
      await clinic.restart()
      await clinic.work()
      assert.equal((await clinic.orthanc.getJson('/plugins/cloud-storage')).Version, versions[1])
    })

    it('is removed, and leaves nothing but the sample that was changed', async () => {
      const said = await clinic.machine.run(`${unpacked(archives[1])}/install.sh --uninstall`)
      assert.match(said, /^keep .*cloud-storage\.json, which was changed$/m)
      await clinic.work()
      clinic.forget()
      await clinic.restart()
      await clinic.work()
      await clinic.stop()
      assert.deepEqual(
        clinic.machine.files().filter(path => !untouched.includes(path)),
        [SAMPLE.slice(1)],
      )
    })
  })
})
