/** What `verify` says of unfinished writes. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { temporaryName } from '../src/stores/directory/names.ts'
import type { Leftover } from '../src/stores/store.ts'
import { withLog } from '../src/stores/wrappers/log.ts'
import { startCloud } from './support/clouds.ts'
import { DAY_MS, makeSite, named, type OldStore, type StageOptions } from './support/verify-stage.ts'

const now = new Date()
const ago = (ms: number) => new Date(now.getTime() - ms)
const begun = (key: string, started = ago(2 * DAY_MS), more: Partial<Leftover> = {}): Leftover => ({
  ...{ key, id: randomUUID(), what: 'unfinished upload', started, asOf: now },
  ...more,
})

/** As a store does, it tells only what has the prefix. */
function leave(store: OldStore | undefined, ...all: readonly Leftover[]): void {
  assert.ok(store)
  store.leftovers = async function* (prefix) {
    yield* all.filter(({ key }) => key.startsWith(prefix))
  }
}

describe('verify and unfinished writes', () => {
  for (const structure of ['flat', 'legacy'] as const)
    for (const encryption of ['none', 'on'] as const)
      it(`finds those that are old, ${structure}, encryption ${encryption}`, async () => {
        const options: StageOptions = { structure, encryption, hybrid: true }
        const site = makeSite(options)
        const known = await site.add()
        const lost = { uuid: randomUUID(), type: 'dicom-until-pixel-data' } as const
        const [key, ofLost, onDisk] = [site.keyOf(known), site.keyOf(lost), site.keyOf(known, 'disk')]
        leave(
          site.store,
          ...[begun(key), begun(key), begun(ofLost, ago(DAY_MS)), begun(ofLost, ago(DAY_MS / 2))],
          ...[begun(key, new Date(Number.NaN)), begun('pacs/readme.txt'), begun(`other/${key}`)],
        )
        leave(site.disk, begun(onDisk, undefined, { what: 'temporary file', size: 17 }))
        const { findings, verification, failures } = await site.verify()
        const wanted = [key, key, ofLost, onDisk].map(one => `leftover ${one}`)
        assert.deepEqual(named(findings), wanted.sort())
        const words = { kind: 'leftover', expected: 'nothing, that write has ended' }
        const told = structure === 'legacy' ? undefined : 'dicom'
        assert.deepEqual(findings[0], {
          ...words,
          ...{ uuid: known.uuid, type: told, key, store: 'store' },
          found: `an upload that began ${ago(2 * DAY_MS).toISOString()}`,
        })
        assert.deepEqual(findings.at(-1), {
          ...words,
          ...{ uuid: known.uuid, type: undefined, key: onDisk, store: 'disk' },
          found: `a temporary file of 17 bytes, last written ${ago(2 * DAY_MS).toISOString()}`,
        })
        const { tally, complete } = verification
        assert.deepEqual(tally.places[0]?.leftovers, { notLookedFor: undefined, young: 1, undated: 1, strangers: 1 })
        assert.deepEqual([tally.findings.leftover, complete, failures], [4, true, []])
      })

  it('measures their age by the time of the store, not by that of this machine', async () => {
    const site = makeSite()
    const key = site.keyOf(await site.add())
    // The objects of this store are of today.
    leave(site.store, begun(key, new Date(Date.now() - DAY_MS / 2), { asOf: new Date(Date.now() + DAY_MS) }))
    assert.deepEqual(named((await site.verify()).findings), [`leftover ${key}`])
    leave(site.store, begun(key, new Date(Date.now() - DAY_MS / 2), { asOf: undefined }))
    assert.deepEqual((await site.verify()).findings, [])
  })

  it('never says 0 of what a store does not list, and goes on', async () => {
    const site = makeSite({ hybrid: true })
    const { key } = begun(site.keyOf(await site.add(), 'disk'))
    leave(site.disk, begun(key))
    assert.ok(site.store)
    site.store.leftovers = () => {
      throw new Fault('Denied', 'AccessDenied', { remedy: 'Give the permission.' })
    }
    const { findings, verification } = await site.verify()
    assert.deepEqual(named(findings), [`leftover ${key}`])
    assert.match(verification.tally.places[0]?.leftovers.notLookedFor ?? '', /AccessDenied \[Denied\]. Give the perm/)
    assert.equal(verification.tally.places[1]?.leftovers.notLookedFor, undefined)
    assert.equal(verification.complete, true)
  })

  it('ends at once when it is interrupted, and then says of none that there is nothing', async () => {
    const site = makeSite()
    const key = site.keyOf(await site.add())
    const stop = new AbortController()
    let given = 0
    Object.assign(site.store, {
      async *leftovers() {
        for (;;) {
          if (++given === 5) stop.abort(new Fault('Canceled', 'enough'))
          yield begun(key)
        }
      },
    })
    let run: { tally: { places: readonly { leftovers: { notLookedFor: string | undefined } }[] } } | undefined
    const onStart = (verification: typeof run) => {
      run = verification
    }
    await assert.rejects(site.verify({ onStart }, stop.signal), { code: 'Canceled' })
    assert.equal(given, 5)
    assert.equal(run?.tally.places[0]?.leftovers.notLookedFor, 'the run ended before')
  })

  it('a log names what was looked for, and what was removed', async () => {
    const lines: string[] = []
    const { store } = makeSite()
    const logged = withLog(line => lines.push(line))(store)
    await logged.removeLeftover(begun('pacs/k'), new AbortController().signal)
    assert.match(lines.join('\n'), /^removed the unfinished upload of 'pacs\/k' from store in [\d.]+ ms$/)
    const failing = withLog(() => {})({ ...store, removeLeftover: () => Promise.reject(new Fault('Denied', 'no')) })
    await assert.rejects(failing.removeLeftover(begun('k'), new AbortController().signal), (fault: Fault) => {
      assert.equal(fault.describe(), "cannot remove the unfinished upload of 'k' on store: no [Denied]")
      return true
    })
  })
})

describe('the command verify and unfinished writes', () => {
  const root = mkdtempSync(join(tmpdir(), 'ocs-verify-leftovers-'))
  after(() => rmSync(root, { recursive: true, force: true }))

  it('tells people and machines, also of the disk of a hybrid mode', () => {
    const [objects, disk, json] = [join(root, 'objects'), join(root, 'disk'), join(root, 'report.jsonl')] as const
    const old = new Date(Date.now() - 2 * DAY_MS)
    const uuid = randomUUID()
    const write = (path: string, name: string, time?: Date) => {
      mkdirSync(dirname(path), { recursive: true })
      const file = join(dirname(path), name)
      writeFileSync(file, 'some bytes')
      if (time) utimesSync(file, time, time)
      return file
    }
    const unfinished = (path: string, time?: Date) => write(path, temporaryName(basename(path)), time)
    const onDisk = join(disk, uuid.slice(0, 2), uuid.slice(2, 4), uuid)
    write(onDisk, uuid)
    write(join(objects, 'readme.txt'), 'readme.txt')
    unfinished(join(objects, `${uuid}.dcm`), old)
    unfinished(join(objects, `${uuid}.dcm`))
    unfinished(join(objects, 'notes.txt'), old)
    unfinished(onDisk, old)
    write(join(objects, 'x'), `.${uuid}.dcm.swp.tmp~`, old)
    const config = join(root, 'orthanc.json')
    const section = { Path: objects, HybridMode: 'WriteToFileSystem' }
    writeFileSync(config, JSON.stringify({ StorageDirectory: disk, DirectoryStorage: section }))
    const files = [{ uuid, type: 'dicom', size: 10, md5: undefined }]
    const options = { config: [config], olderThan: DAY_MS, settle: 0, concurrency: 4, scratch: root, json }
    const script = join(import.meta.dirname, 'support', 'verify-run.ts')
    const run = spawnSync(process.execPath, [script, JSON.stringify(options), JSON.stringify({ files })], {
      encoding: 'utf8',
    })
    assert.equal(run.stderr, '')
    const lines = run.stdout.trimEnd().split('\n')
    const found = `expected nothing, that write has ended; found a temporary file of 10 bytes, last written ${old.toISOString()}`
    const shown = lines.filter(line => line.startsWith('leftover: ') || line.includes('unfinished'))
    assert.deepEqual(
      shown.sort(),
      [
        `1 unfinished write in directory:${objects} too young to be called a leftover`,
        `1 unfinished write in directory:${objects} with a key that no file of Orthanc's has`,
        'leftover: 2',
        `leftover: ${uuid.slice(0, 2)}/${uuid.slice(2, 4)}/${uuid} in directory:${disk}: ${found}`,
        `leftover: ${uuid}.dcm in directory:${objects}, dicom: ${found}`,
      ].sort(),
    )
    assert.equal(run.status, 1)
    const written = readFileSync(json, 'utf8')
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    const summary = written.pop()
    assert.deepEqual(
      written.map(({ kind, uuid: of }) => `${kind} ${of}`),
      [`leftover ${uuid}`, `leftover ${uuid}`],
    )
    assert.equal(summary.findings.leftover, 2)
    assert.deepEqual(
      summary.places.map((place: { leftovers: object }) => place.leftovers),
      [
        { young: 0, undated: 0, strangers: 0 },
        { young: 1, undated: 0, strangers: 1 },
      ],
    )
  })

  it('says why it did not look for them, and never 0', async () => {
    const cloud = await startCloud('s3')
    after(() => cloud.close())
    cloud.meddle = ({ url }, response, done) => {
      if (done || !url.searchParams.has('uploads')) return false
      response.writeHead(403).end('<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>')
      return true
    }
    const uuid = randomUUID()
    await cloud.store.put(`pacs/${uuid}.dcm`, sourceOf(Buffer.from('some bytes')), new AbortController().signal)
    const [config, json] = [join(root, 's3.json'), join(root, 's3.jsonl')] as const
    const keys = { AccessKey: 'a', SecretKey: 's', VirtualAddressing: false }
    const section = { BucketName: 'bucket', Region: 'us-east-1', Endpoint: cloud.endpoint, RootPath: 'pacs', ...keys }
    writeFileSync(config, JSON.stringify({ AwsS3Storage: section }))
    const options = { config: [config], olderThan: DAY_MS, settle: 0, concurrency: 4, scratch: root, json }
    const files = [{ uuid, type: 'dicom', size: 10, md5: undefined }]
    const script = join(import.meta.dirname, 'support', 'verify-run.ts')
    const child = spawn(process.execPath, [script, JSON.stringify(options), JSON.stringify({ files })])
    const [output, [status]] = await Promise.all([child.stdout.toArray(), once(child, 'exit')])
    const lines = Buffer.concat(output).toString().split('\n')
    assert.deepEqual(
      lines.filter(line => line.startsWith('leftover')),
      [
        "leftover: not looked for in s3:bucket: cannot look for leftovers below 'pacs/' on s3:bucket: AccessDenied: Access Denied (HTTP 403) [Denied]. The credentials need the permission s3:ListBucketMultipartUploads on bucket 'bucket'.",
      ],
    )
    const summary = JSON.parse(readFileSync(json, 'utf8'))
    assert.deepEqual([summary.findings.leftover, summary.findings.missing, summary.complete], [null, 0, true])
    assert.match(summary.places[0].leftovers.notLookedFor, /AccessDenied/)
    assert.equal(status, 0)
  })
})
