/** Secrets can be seen nowhere, after all that may happen to a real Orthanc, its engine and the command line. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { freePort } from '../../harness/child.ts'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import { program } from '../support/program.ts'
import { azurePlace, gcsPlace, type Place, s3Place } from './support/places.ts'
import { liveServer, s3Server } from './support/servers.ts'

/** The secrets that are searched for in all that can be seen. A failure shows their names. */
const markers = new Map<string, string>()
const marker = (name: string, text = randomBytes(32).toString('base64')) => {
  markers.set(name, text)
  return text
}

const formsOf = (text: string) => {
  const bytes = Buffer.from(text)
  const key = /^[A-Za-z0-9+/]{43}=$/.test(text) ? [Buffer.from(text, 'base64')] : []
  const plain = [text, encodeURIComponent(text), JSON.stringify(text).slice(1, -1)]
  const coded = [bytes.toString('hex'), ...[bytes, Buffer.from(`alice:${text}`)].map(some => some.toString('base64'))]
  return [...plain, ...coded.map(code => code.replace(/=+$/, '')), ...key.map(raw => raw.toString('hex')), ...key]
}
function nothingIn(what: string, seen: string | Buffer): void {
  const bytes = Buffer.from(seen)
  for (const [name, text] of markers)
    for (const form of formsOf(text)) assert.ok(!bytes.includes(form), `${name} is in ${what}`)
}

/** The keys that sign requests to S3, each derived from the one before. */
function derivedKeys(secret: string, region: string): void {
  const day = new Date().toISOString().slice(0, 10).replaceAll('-', '')
  let key = Buffer.from(`AWS4${secret}`)
  for (const part of [day, region, 's3', 'aws4_request']) {
    key = createHmac('sha256', key).update(part).digest()
    marker(`the signing key of ${part}`, key.toString('base64'))
  }
}

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => join(folder, name))
    .filter(file => statSync(file, { throwIfNoEntry: false })?.isFile())

/** The engine, and all that it starts. */
function descendants(parent: number): number[] {
  const children = readdirSync('/proc').filter(name => {
    try {
      return / \S (\d+) /.exec(readFileSync(`/proc/${name}/stat`, 'latin1').replace(/^.*\)/, ')'))?.[1] === `${parent}`
    } catch {
      return false // no process, or none any more
    }
  })
  return children.flatMap(child => [Number(child), ...descendants(Number(child))])
}

function lookAtProcesses(orthanc: OrthancProcess): void {
  for (const child of descendants(orthanc.pid))
    for (const what of ['cmdline', 'environ']) nothingIn(`${what} of a child`, readFileSync(`/proc/${child}/${what}`))
}

interface Kind {
  readonly name: string
  make(folder: string): Promise<Place>
  /** Options with which the store refuses. */
  readonly wrong: () => Record<string, unknown>
}

const [ceph, azurite, google] = [s3Server(), liveServer('azurite'), liveServer('fake-gcs')]
const kinds: Kind[] = []
if (ceph)
  kinds.push({
    name: 'S3',
    make: () => {
      marker('SecretKey', ceph.secretKey)
      derivedKeys(ceph.secretKey, ceph.region)
      return s3Place({ EnableAwsSdkLogs: true })
    },
    wrong: () => ({ SecretKey: marker('a wrong SecretKey') }),
  })
if (azurite && LONG)
  kinds.push({
    name: 'Azure',
    make: () => {
      marker('AccountKey', azurite.key)
      return azurePlace(azurite)
    },
    wrong: () => {
      const sas = `sv=2022-11-02&sp=rwdl&sig=${encodeURIComponent(marker('sig of a SAS'))}`
      return { ConnectionString: `BlobEndpoint=${azurite.endpoint};SharedAccessSignature=${sas}` }
    },
  })
if (google && LONG)
  kinds.push({
    name: 'Google',
    make: folder => {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
      marker('private_key', pem.split('\n')[3] ?? '')
      const file = join(folder, 'private', 'account.json')
      writeFileSync(file, JSON.stringify({ type: 'service_account', client_email: 'a@b.example', private_key: pem }))
      return gcsPlace(google, { ServiceAccountFile: file })
    },
    wrong: () => ({ BucketName: 'no-such-bucket' }),
  })

for (const { name, make, wrong } of kinds)
  describe(`secrets of an Orthanc that stores in ${name}`, () => {
    let folder: string
    let place: Place
    let orthanc: OrthancProcess | undefined
    let config: Record<string, unknown>

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-secrets-'))
      for (const name of ['private', 'dumps', 'tmp', 'orthanc', 'work']) mkdirSync(join(folder, name))
      place = await make(folder)
      const masterKey = (id: number): [number, string] => {
        const file = join(folder, 'private', `key${id}`)
        writeFileSync(file, `${marker(`master key ${id}`)}\n`, { mode: 0o600 })
        return [id, file]
      }
      const [section = ''] = Object.keys(place.config)
      const StorageEncryption = { MasterKey: masterKey(2), PreviousMasterKeys: [masterKey(1)] }
      config = {
        [section]: { ...place.config[section], StorageEncryption, HybridMode: 'WriteToObjectStorage', MaxRetries: 0 },
        HttpProxy: `http://alice:${marker('password of HttpProxy')}@127.0.0.1:${await freePort()}`,
        RegisteredUsers: { alice: marker('password of a user') },
        PostgreSQL: { EnableIndex: false, Password: marker('password of the database') },
        TemporaryDirectory: join(folder, 'tmp'),
        MetricsEnabled: true,
      }
    })
    after(async () => {
      await orthanc?.stop()
      await place.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    it('are in no log, answer, argument, environment or file', async () => {
      const dumps = join(folder, 'dumps')
      const on = await startOrthanc({
        config,
        dir: join(folder, 'orthanc'),
        verbose: 'trace',
        env: {
          NODE_OPTIONS: `--report-on-fatalerror --report-uncaught-exception --report-on-signal --heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${dumps} --tls-keylog=${join(dumps, 'tls')} --inspect=127.0.0.1:0`,
          NODE_DEBUG: 'http,net,tls,fetch,undici,fs,child_process',
          NODE_V8_COVERAGE: dumps,
          NODE_COMPILE_CACHE: dumps,
          DEBUG: '*',
          AZURE_LOG_LEVEL: 'verbose',
          GOOGLE_SDK_NODE_LOGGING: '*',
          ORTHANC__POSTGRESQL__PASSWORD: marker('an option in the environment'),
          ORTHANC_JSON: `{"PostgreSQL":{"Password":"${marker('options in the environment')}"}}`,
        },
      })
      orthanc = on
      const engine = () => until('an engine', () => on.enginePid())
      const ask = async (method: 'GET' | 'POST' | 'DELETE', path: string, body?: Uint8Array) => {
        const answer = await on.request(method, path, body)
        nothingIn(`the answer to ${method} ${path}`, JSON.stringify(answer.headers) + answer.body)
        return answer
      }
      const image = (seed: number) => on.postJson('/instances', makeImage({ seed, rows: 600, columns: 600 }))
      const { ID, ParentStudy } = await image(1)
      await image(2)
      lookAtProcesses(on)

      // The signals that a whole process group may get.
      const first = await engine()
      assert.match(readFileSync(`/proc/${first}/limits`, 'utf8'), /Max core file size +1 +1 /)
      process.kill(first, 'SIGUSR1')
      await image(3)
      assert.equal(on.enginePid(), first)
      // Ways to end that could write a snapshot, a report, a core.
      for (const signal of ['SIGUSR2', 'SIGABRT'] as const) {
        process.kill(await engine(), signal)
        await on.logged(new RegExp(`was killed by signal ${signal === 'SIGUSR2' ? 12 : 6}`))
        await image(signal.length)
      }
      lookAtProcesses(on)

      const move = { Resources: [ParentStudy], TargetStorage: 'file-system', Asynchronous: true }
      const { ID: job } = JSON.parse(
        (await ask('POST', '/move-storage', Buffer.from(JSON.stringify(move)))).body.toString(),
      )
      await on.job(job)
      const lost = (await image(20)).ID
      for (const key of await place.keys()) await place.remove(key)
      assert.notEqual((await ask('GET', `/instances/${lost}/file`)).status, 200) // its object is gone
      for (const path of [
        ...[
          '/system',
          '/plugins/cloud-storage',
          '/jobs?expand',
          `/jobs/${job}`,
          '/cloud-storage/status',
          '/cloud-storage/ready',
          '/statistics',
        ],
        ...[
          '/tools/metrics-prometheus',
          '/plugins/explorer.js',
          `/instances/${ID}/cloud-storage`,
          `/instances/${ID}/file`,
        ],
      ])
        await ask('GET', path)
      await ask('DELETE', `/instances/${ID}`)
      await on.stop()
      orthanc = undefined

      // With --verbose, Orthanc itself logs its HttpProxy. We cannot change that.
      nothingIn("Orthanc's log", on.log().replace(/^.* HttpClient\.cpp:\d+\] .*proxy.*$/gim, ''))
      assert.doesNotMatch(on.log(), /Debugger listening|NODE_DEBUG|HTTP \d+: /)
      assert.deepEqual(filesBelow(dumps), [])
      const left = filesBelow(folder).filter(file => !/\/private\/|\/orthanc\.json$/.test(file))
      assert.ok(left.some(file => file.endsWith('/index')))
      for (const file of left) if (!file.endsWith('.log')) nothingIn(file.slice(folder.length), readFileSync(file))
      assert.deepEqual(
        readdirSync(join(folder, 'tmp')).filter(name => name.includes('cloud-storage')),
        [],
      )
    })

    it('are in nothing that the command line says, tells the system or leaves behind', async () => {
      const [section = ''] = Object.keys(place.config)
      const of = place.config[section]
      const plainPort = new URL(String(of?.['Endpoint'] ?? 'http://127.0.0.1:9')).port
      const private_ = join(folder, 'private')
      const variants: Record<string, unknown> = {
        right: of,
        wrong: { ...of, ...wrong() },
        far: { ...of, ...('ConnectionString' in (of ?? {}) ? {} : { Endpoint: 'https://store.invalid' }) },
        tls: { ...of, ...('Endpoint' in (of ?? {}) ? { Endpoint: `https://127.0.0.1:${plainPort}` } : {}) },
      }
      for (const [variant, options] of Object.entries(variants)) {
        const whole = { ...(config[section] as object), ...(options as object) }
        writeFileSync(
          join(private_, `${variant}.json`),
          JSON.stringify({ ...config, [section]: whole, StorageDirectory: join(folder, 'work') }),
        )
      }
      const key1 = join(private_, 'key1')
      writeFileSync(join(folder, 'work', 'plain'), 'not sealed')
      const raw = join(private_, 'raw')
      writeFileSync(raw, Buffer.from(readFileSync(key1, 'latin1'), 'base64'))
      const hex = join(private_, 'hex')
      writeFileSync(hex, Buffer.from(readFileSync(key1, 'latin1'), 'base64').toString('hex'))
      const plain = join(folder, 'work', 'plain')
      const sealed = join(folder, 'work', 'sealed')
      const json = (variant: string) => join(private_, `${variant}.json`)
      const state = join(folder, 'work', 'state.json')
      await run(['encrypt', '--master-key', `1:${key1}`, plain, sealed], 0)
      const runs: [words: string[], exit?: number][] = [
        [['decrypt', '--master-key', `2:${join(private_, 'key2')}`, sealed, `${sealed}.out`], 1],
        [['encrypt', '--master-key', `1:${raw}`, plain, `${sealed}.raw`], 1],
        [['check', json('wrong')], 1],
        [['check', json('far')]],
        [['rotate-keys', '--config', json('right'), '--state', state]],
      ]
      const more: typeof runs = [
        [['keygen', '--out', key1], 1],
        [['inspect', sealed, plain], 0],
        [['decrypt', '--master-key', `1:${join(private_, 'key2')}`, sealed, `${sealed}.out`], 1],
        [['encrypt', '--master-key', `1:${hex}`, plain, `${sealed}.hex`], 1],
        [['check', json('right')], 0],
        [['check', '--json', json('tls')]],
        [['rotate-keys', '--config', json('wrong'), '--state', `${state}.wrong`], 3],
        [['rotate-keys', '--json', '--dry-run', '--config', json('far')]],
      ]
      for (const [words, exit] of LONG ? [...runs, ...more] : runs) await run(words, exit)
      for (const file of filesBelow(join(folder, 'work'))) nothingIn(file.slice(folder.length), readFileSync(file))
    })

    async function run(words: string[], exit: number | undefined): Promise<void> {
      const [node = '', ...script] = program
      const child = spawn(node, [...script, ...words], { stdio: ['ignore', 'pipe', 'pipe'], cwd: join(folder, 'work') })
      let said = ''
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', chunk => {
          said += chunk
        })
      const code = await new Promise(resolve => child.once('close', resolve))
      nothingIn(`what "${words[0]}" says`, said)
      if (exit !== undefined) assert.equal(code, exit, said)
    }
  })
