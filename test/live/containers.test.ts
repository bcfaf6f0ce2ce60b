/**
 * The images of deploy/docker, built as docs/docker.md says and run as a strict cluster runs them: an unknown user, a
 * root file system that cannot be written, no capabilities. The image of Orthanc's team is a stand-in of ours.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { freePort } from '../../harness/child.ts'
import { type Container, type ContainerOptions, Containers } from '../../harness/containers.ts'
import { makeImage } from '../../harness/dicom.ts'
import { minimalTree, orthancTree } from '../../harness/trees.ts'
import { LONG } from '../support/long.ts'
import { buildElsewhere } from './support/builds.ts'
import { type Place, s3Place } from './support/places.ts'
import { liveServer } from './support/servers.ts'

/** In no list of users, as OpenShift gives them: with group 0. */
const RANDOM = { uid: 1_000_730_000, gid: 0 }
/** The one that the image of Orthanc's team has for this. */
const ORTHANC = { uid: 999, gid: 999 }
const skip = LONG ? false : 'only in npm run test:long: it makes packages and images'
const minio = LONG ? liveServer('minio') : undefined

describe('an image', { skip }, () => {
  let folder: string
  let containers: Containers
  let version: string
  let place: Place
  let section: Readonly<Record<string, string>>
  let running: Container | undefined

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-containers-'))
    containers = new Containers(join(folder, 'containers'))
    const clone = join(folder, 'clone')
    version = (await buildElsewhere(clone)).version
    const standIn = join(import.meta.dirname, 'support', 'stand-in')
    await containers.importTree((await orthancTree('forky')).folder, 'localhost/orthanc')
    await containers.build('localhost/team', { context: standIn, args: { BASE: 'localhost/orthanc' } })
    await containers.importTree(await minimalTree('trixie'), 'localhost/debian')
    const build = (name: string, file: string, BASE: string) =>
      containers.build(name, {
        context: clone,
        file: join(clone, 'deploy', 'docker', file),
        args: { BASE, VERSION: version },
      })
    await build('localhost/ours', 'Dockerfile', 'localhost/team')
    await build('localhost/ours-debian', 'Dockerfile.debian', 'localhost/debian')
    place = await s3Place({ VirtualAddressing: 'false' }, minio)
    section = place.config['AwsS3Storage'] as Record<string, string>
  })
  afterEach(async () => {
    await running?.orthanc.stop()
    running = undefined
  })
  after(async () => {
    await place?.dispose()
    await containers.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** A container that answers, on a port that is free here. */
  const start = async (options: (port: number) => Omit<ContainerOptions, 'port'>): Promise<Container> => {
    const port = await freePort()
    running = await containers.run({ ...options(port), port })
    return running
  }
  /** The image of Orthanc's team, with the variables of its users. */
  const startTeam = (options: Partial<ContainerOptions>) =>
    start(port => ({
      image: 'localhost/ours',
      user: RANDOM,
      ...options,
      files: {
        '/run/secrets/ORTHANC__AWS_S3_STORAGE__ACCESS_KEY': `${section['AccessKey']}\n`,
        '/run/secrets/ORTHANC__AWS_S3_STORAGE__SECRET_KEY': `${section['SecretKey']}\n`,
      },
      env: {
        ORTHANC__AWS_S3_STORAGE__BUCKET_NAME: section['BucketName'] ?? '',
        ORTHANC__AWS_S3_STORAGE__REGION: section['Region'] ?? '',
        ORTHANC__AWS_S3_STORAGE__ENDPOINT: section['Endpoint'] ?? '',
        ORTHANC__AWS_S3_STORAGE__VIRTUAL_ADDRESSING: 'false',
        ORTHANC__AUTHENTICATION_ENABLED: 'false',
        ORTHANC__DICOM_SERVER_ENABLED: 'false',
        ORTHANC__HTTP_PORT: `${port}`,
        VERBOSE_ENABLED: 'true',
        ...options.env,
      },
    }))
  const startDebian = (user: ContainerOptions['user'], volumes: readonly string[]) =>
    start(port => {
      const own = { HttpPort: port, DicomServerEnabled: false, AuthenticationEnabled: false }
      const site = JSON.stringify({ ...own, AwsS3Storage: section })
      return { image: 'localhost/ours-debian', user, volumes, files: { '/etc/orthanc/site.json': site } }
    })

  const storesReadsAndStops = async ({ orthanc, exitCode }: Container) => {
    const image = makeImage({ seed: orthanc.pid, rows: 64, columns: 64 })
    const { ID } = await orthanc.postJson('/instances', image)
    assert.deepEqual(await orthanc.getBytes(`/instances/${ID}/file`), Buffer.from(image))
    const [{ uuid } = { uuid: 'none' }] = await orthanc.attachmentsOf(ID)
    assert.ok((await place.keys()).some(key => key.includes(uuid)))
    await orthanc.stop() // by SIGTERM
    assert.equal(exitCode(), 0)
    assert.match(orthanc.log(), /Orthanc has stopped/)
    assert.doesNotMatch(orthanc.log(), /is started again|was killed/)
  }
  /** The processes of a container, as this machine sees them: Orthanc, and the engine in its own Node.js. */
  const isRunBy = async ({ pids }: Container, { uid, gid }: ContainerOptions['user']) => {
    const processes = await pids()
    assert.deepEqual(
      processes.map(pid => readlinkSync(`/proc/${pid}/exe`).replace(/^.*\/usr\//, '/usr/')),
      ['/usr/sbin/Orthanc', '/usr/lib/orthanc-cloud-storage/node'],
    )
    for (const pid of processes) {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      assert.match(
        status,
        new RegExp(`^Uid:\\t${uid}\\t[^]*^Gid:\\t${gid}\\t[^]*^CapBnd:\\t0+$[^]*^NoNewPrivs:\\t1`, 'm'),
      )
    }
  }

  it('of the team runs as an unknown user with a read-only root, and its variables say where to store', async () => {
    const volumes = ['/tmp', '/run/orthanc/plugins', '/var/lib/orthanc/db']
    const container = await startTeam({ volumes, env: { GENERATE_HOST_ID_IF_MISSING: 'false' } })
    await isRunBy(container, RANDOM)
    assert.match(container.orthanc.log(), /\/run\/orthanc\/plugins\/libOrthancAwsS3Storage\.so/)
    await storesReadsAndStops(container)
  })

  it('of the team runs as its own user, who may link only what is his', async () => {
    const container = await startTeam({ user: ORTHANC, writable: true })
    await isRunBy(container, ORTHANC)
    assert.match(container.orthanc.log(), /\/usr\/share\/orthanc\/plugins\/libOrthancAwsS3Storage\.so/)
    await storesReadsAndStops(container)
  })

  it('of the team starts with a section that a variable left behind, and says so', async () => {
    const left = { ORTHANC__AZURE_BLOB_STORAGE__ROOT_PATH: 'old', GOOGLE_CLOUD_STORAGE_PLUGIN_ENABLED: 'true' }
    const container = await startTeam({ user: ORTHANC, writable: true, env: left })
    const log = container.orthanc.log()
    assert.match(log, /the section "AzureBlobStorage" is ignored: it has no ContainerName/)
    assert.equal(log.match(/libOrthanc\w+\.so does nothing, because it is the same plugin as /g)?.length, 2)
    await storesReadsAndStops(container)
  })

  it('of Debian runs as an unknown user with a read-only root, and with no folder but that of the index', async () => {
    const container = await startDebian(RANDOM, ['/var/lib/orthanc/db'])
    await isRunBy(container, RANDOM)
    await storesReadsAndStops(container)
  })

  it('of Debian runs as its own user, with a /tmp', async () => {
    const user = { uid: 999, gid: 0 }
    const container = await startDebian(user, ['/tmp', '/var/lib/orthanc/db'])
    await isRunBy(container, user)
    await storesReadsAndStops(container)
  })

  it('says which version of ours it has', async () => {
    for (const image of ['localhost/ours', 'localhost/ours-debian']) {
      const labels = await containers.labels(image)
      assert.equal(labels['org.opencontainers.image.version'], version)
      assert.equal(labels['org.opencontainers.image.licenses'], 'GPL-3.0-or-later')
    }
  })
})
