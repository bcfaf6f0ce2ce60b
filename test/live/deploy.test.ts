/** The samples of deploy/: read by the libraries of their own tools, and run as far as that needs no registry. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { freePort, type Running, startChild } from '../../harness/child.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { run } from '../../harness/run.ts'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'

const deploy = join(import.meta.dirname, '..', '..', 'deploy')
const users = { admin: 'a-password', probe: 'another password: with a colon' }
const basic = (name: keyof typeof users) => Buffer.from(`${name}:${users[name]}`).toString('base64')
const skip = LONG ? false : 'only in npm run test:long: it needs haproxy'

describe('the samples of deploy', () => {
  let folder: string
  const orthancs: OrthancProcess[] = []
  const ports: { http: number; dicom: number }[] = []
  const node = (name: string) => join(folder, `node-${name}`)

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-deploy-'))
    for (const name of ['one', 'two']) {
      symlinkSync(process.execPath, node(name))
      const port = { http: await freePort(), dicom: await freePort() }
      const config = {
        Name: name,
        DirectoryStorage: { Path: join(folder, `objects-${name}`) },
        AuthenticationEnabled: true,
        RegisteredUsers: users,
        DicomServerEnabled: true,
        CloudStorage: { Node: node(name) },
      }
      orthancs.push(await startOrthanc({ config, dir: join(folder, name), ports: port }))
      ports.push(port)
    }
  })
  after(async () => {
    for (const orthanc of orthancs) await orthanc.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  describe('probe.sh', () => {
    async function probe(path: string, { credentials = `probe:${users.probe}`, port = ports[0]?.http } = {}) {
      const file = join(folder, 'probe')
      writeFileSync(file, credentials)
      const env = { ...process.env, PROBE_FILE: file, ORTHANC__HTTP_PORT: `${port}` }
      const program = join(deploy, 'kubernetes', 'base', 'probe.sh')
      return await promisify(execFile)('bash', [program, path], { env }).then(
        () => 'succeeded',
        ({ code, stdout, stderr }) => `${code} ${stdout}${stderr}`,
      )
    }

    it('succeeds for an Orthanc that is alive and ready', async () => {
      assert.equal(await probe('/system'), 'succeeded')
      assert.equal(await probe('/cloud-storage/ready'), 'succeeded')
      assert.equal(await probe('/system', { credentials: `probe:${users.probe}\n` }), 'succeeded')
    })

    it('fails with what Orthanc says', async () => {
      assert.match(await probe('/cloud-storage/ready', { credentials: 'probe:wrong' }), /^1 HTTP\/1\.[01] 401/)
      assert.match(await probe('/no-such-route'), /^1 HTTP\/1\.[01] 404/)
    })

    it('fails where nobody listens', async () => {
      assert.match(await probe('/system', { port: await freePort() }), /^1 .*Connection refused/)
    })
  })

  it('make-secrets.sh makes each secret of compose.yaml once, and the password of the probe is one of the users', async () => {
    const made = join(folder, 'secrets')
    const script = join(folder, 'make-secrets.sh')
    writeFileSync(script, readFileSync(join(deploy, 'make-secrets.sh')))
    await run('bash', [script])
    const wanted = readFileSync(join(deploy, 'compose.yaml'), 'utf8').matchAll(/file: secrets\/(\S+)/g)
    const secrets = () => [...wanted].map(([, name]) => [name, readFileSync(join(made, name as string), 'utf8')])
    const first = Object.fromEntries(secrets())
    assert.equal(Object.keys(first).length, 5)
    assert.equal(first['probe'], `probe:${JSON.parse(first['registered-users']).probe}`)
    const again = await run('bash', [script])
    for (const name of Object.keys(first)) assert.match(again, new RegExp(`^Kept .*: .*\\b${name}\\b`))
    for (const [name, content] of Object.entries(first))
      assert.equal(readFileSync(join(made, name), 'utf8'), content, name)
  })

  describe('haproxy.cfg', { skip }, () => {
    let balancer: Running
    const front = { http: 0, dicom: 0 }

    before(async () => {
      Object.assign(front, { http: await freePort(), dicom: await freePort() })
      const [one, two] = ports as [(typeof ports)[0], (typeof ports)[0]]
      const config = readFileSync(join(deploy, 'haproxy.cfg'), 'utf8')
        .replace(/orthanc-([12]):4242 check port 8042/g, (_, n) =>
          n === '1' ? `127.0.0.1:${one.dicom} check port ${one.http}` : `127.0.0.1:${two.dicom} check port ${two.http}`,
        )
        .replace(/orthanc-([12]):8042/g, (_, n) => `127.0.0.1:${n === '1' ? one.http : two.http}`)
        .replace('bind :8042', `bind 127.0.0.1:${front.http}`)
        .replace('bind :4242', `bind 127.0.0.1:${front.dicom}`)
        .replace('inter 5s', 'inter 200ms')
      writeFileSync(join(folder, 'haproxy.cfg'), config)
      balancer = await startChild('/usr/sbin/haproxy', ['-W', '-db', '-f', join(folder, 'haproxy.cfg')], {
        log: join(folder, 'haproxy.log'),
        env: { PROBE: basic('probe') },
        ready: async () => assert.ok((await who()) !== undefined),
      })
    })
    after(async () => balancer?.stop())

    /** The name of the Orthanc that answers through the load balancer. */
    const who = async () => {
      const headers = { Authorization: `Basic ${basic('admin')}` }
      const answer = await fetch(`http://127.0.0.1:${front.http}/system`, { headers }).catch(() => undefined)
      return answer?.ok ? ((await answer.json()) as { Name: string }).Name : undefined
    }

    it('brings a client to one Orthanc, to the other while that one is not ready, and back', async () => {
      const usual = (await who()) as string
      for (let i = 0; i < 5; i++) assert.equal(await who(), usual)
      const orthanc = orthancs[usual === 'one' ? 0 : 1] as OrthancProcess
      rmSync(node(usual))
      process.kill(orthanc.enginePid() as number, 'SIGKILL')
      const other = usual === 'one' ? 'two' : 'one'
      await until('the other Orthanc to answer', async () => (await who()) === other)
      await run('echoscu', ['127.0.0.1', `${front.dicom}`])
      symlinkSync(process.execPath, node(usual))
      await until('the first Orthanc to answer again', async () => (await who()) === usual)
    })
  })
})
