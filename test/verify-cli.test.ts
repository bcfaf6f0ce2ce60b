/** `verify` as people run it, on a directory store: what it prints, what it writes, how it ends. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { VerifyArguments } from '../src/cli/verify.ts'
import { rate, timeOf, VerifyProgress } from '../src/cli/verify-progress.ts'
import { emptyTally } from '../src/verify/tally.ts'
import type { Verification } from '../src/verify/verify.ts'
import { linesOf, VerifySite } from './support/verify-site.ts'

const root = mkdtempSync(join(tmpdir(), 'ocs-verify-'))
after(() => rmSync(root, { recursive: true, force: true }))

describe('the command verify --repair', () => {
  const filled = () => {
    const site = new VerifySite()
    for (let i = 0; i < 40; i++) site.add()
    const key = `${randomUUID()}.dcm`
    site.write(key, 'an orphan')
    site.write('readme.txt', 'of today', { fresh: true })
    return { site, key, trash: join(site.folder, 'objects', 'cloud-storage-trash', key) }
  }

  it('says what it would do, and does it with --yes; the trash is emptied by its age', () => {
    const { site, key, trash } = filled()
    const object = join(site.folder, 'objects', key)
    const dry = site.run({ repair: ['orphans=trash'] })
    assert.equal(dry.stderr, '')
    assert.equal(dry.status, 1)
    assert.ok(dry.lines.includes('Nothing was changed. Give --yes to do it.'))
    const store = `directory:${site.folder}/objects`
    assert.ok(dry.lines.includes(`would go to the trash: ${key} in ${store} (orphan), as cloud-storage-trash/${key}`))
    assert.ok(existsSync(object) && !existsSync(trash))

    const json = join(site.folder, 'report.jsonl')
    const done = site.run({ repair: ['orphans=trash,doubles=trash'], yes: true, json, orthanc: 'http://a' })
    assert.match(done.stderr, /doubles are removed only when Orthanc says/)
    assert.equal(done.status, 3)
    assert.ok(existsSync(object))
    const repaired = site.run({ repair: ['orphans=trash'], yes: true, json })
    assert.deepEqual([repaired.status, repaired.stderr], [0, ''])
    assert.ok(repaired.lines.includes('moved to the trash: 1'))
    assert.deepEqual(linesOf(json).at(-1).repairs, { dryRun: false, trash: 1, settled: 0, failures: 0 })
    assert.equal(readFileSync(trash, 'utf8'), 'an orphan')
    assert.ok(!existsSync(object))

    const again = site.run()
    assert.equal(again.status, 0)
    assert.ok(again.lines.some(line => line.startsWith(`40 objects in ${store} (240 bytes); 1 object in the trash`)))
    const young = site.run({ emptyTrash: true, yes: true })
    assert.deepEqual(
      [young.status, young.lines],
      [0, [`1 object in the trash of ${store} (9 bytes): removed 0 objects (0 bytes)`]],
    )
    const wouldGo = site.run({ emptyTrash: true, olderThan: 0 })
    assert.match(wouldGo.lines[0] ?? '', /old enough 1 object/)
    assert.ok(existsSync(trash))
    assert.equal(site.run({ emptyTrash: true, olderThan: 0, yes: true }).status, 0)
    assert.ok(!existsSync(trash))
    assert.equal(site.run().status, 0)
  })

  it('refuses with all reasons, after the report, and ends with 3', () => {
    const { site, key } = filled()
    for (let i = 0; i < 3; i++) site.write(`${randomUUID()}.dcm`, 'x')
    const { status, stderr, lines } = site.run({ repair: ['orphans=delete'], yes: true })
    assert.equal(status, 3)
    assert.match(stderr, /no orphan is removed: 4 of the 44 objects in .* would go, which is more than 5 %/)
    assert.match(stderr, /--expect 4/)
    assert.ok(lines.includes('orphan: 4'))
    assert.ok(existsSync(join(site.folder, 'objects', key)))
    const counted = site.run({ repair: ['orphans=delete'], yes: true, expect: 4 })
    assert.deepEqual([counted.status, counted.stderr], [0, ''])
    assert.ok(counted.lines.includes('deleted: 4'))
  })

  it('says what it has done, also when the file of --json cannot be written', () => {
    const { site } = filled()
    for (const more of [{}, { repair: ['orphans=trash'], yes: true }] as const) {
      const { status, stderr, lines } = site.run({ ...more, json: '/dev/full' })
      assert.equal(status, 3)
      assert.match(stderr, /cannot write \/dev\/full: the disk is full/)
      assert.ok(lines.includes('orphan: 1'), lines.join('\n'))
    }
    for (const name of [randomUUID(), randomUUID()]) site.write(`cloud-storage-trash/${name}.dcm`, 'x')
    // Of a folder that does not tell its time: its newest object, not the newest one in the trash.
    const dry = site.run({ emptyTrash: true })
    assert.match(dry.lines[0] ?? '', /^2 objects in the trash .*: old enough 2 objects \(2 bytes\)/)
    const { status, lines } = site.run({ emptyTrash: true, yes: true, json: '/dev/full' })
    assert.equal(status, 3)
    assert.match(lines.join('\n'), /partial[\s\S]*^2 objects in the trash .*: removed 2 objects \(2 bytes\)$/m)
  })

  it('changes nothing of a store that is ReadOnly', () => {
    const site = new VerifySite({}, { ReadOnly: true })
    const { status, stderr } = site.run({ repair: ['orphans=delete'], yes: true })
    assert.equal(status, 3)
    assert.match(stderr, /the configuration is ReadOnly/)
  })
})

describe('the command verify', () => {
  it('says what it looked at, and ends with 0 when it found nothing', () => {
    const site = new VerifySite()
    for (let i = 0; i < 3; i++) site.add()
    site.write('readme.txt', 'somebody else’s', { fresh: true })
    const { status, lines, stderr } = site.run({ deep: true })
    assert.equal(stderr, '')
    const [last, ...others] = lines.reverse()
    assert.match(last ?? '', /^took \d seconds?, \d+ a second$/)
    assert.deepEqual(others.reverse(), [
      '3 files in an index in a file',
      `3 objects in directory:${site.folder}/objects (18 bytes); left alone: 1 object with a key that no file of Orthanc's has; ages by its newest object, because it does not tell its time`,
      '3 files read to their end (18 bytes)',
      'missing: 0',
      'wrong size: 0',
      'corrupt: 0',
      'unknown key: 0',
      'orphan: 0',
      'double: 0',
      'leftover: 0',
    ])
    assert.equal(status, 0)
  })

  it('shows 20 findings of each kind, writes all of them to a file, and ends with 1', () => {
    const site = new VerifySite()
    site.add()
    const lost = Array.from({ length: 23 }, () => site.add({ lost: true }))
    const orphan = `${randomUUID()}.json`
    site.write(orphan, 'x')
    site.write(`${randomUUID()}.json`, 'x', { fresh: true })
    const json = join(site.folder, 'report.jsonl')
    const { status, lines, stderr } = site.run({ json })
    assert.deepEqual([status, stderr], [1, ''])
    assert.equal(lines.filter(line => line.startsWith('missing: ') && line.includes('.dcm')).length, 20)
    assert.ok(lines.includes('missing: 3 more'))
    assert.ok(lines.includes('missing: 23'))
    assert.ok(lines.includes('corrupt: not looked for, that needs --deep'), 'a 0 would say that there is none')
    assert.ok(lines.includes('1 object too young to be called an orphan'))
    const shown = lines.find(line => line.startsWith('orphan: ')) ?? ''
    assert.match(
      shown,
      new RegExp(`^orphan: ${orphan} in directory:.*objects, dicom-as-json: expected nothing, the index`),
    )
    assert.equal(statSync(json).mode & 0o777, 0o600)
    const written = linesOf(json)
    const summary = written.pop()
    assert.deepEqual(
      written
        .filter(({ kind }) => kind === 'missing')
        .map(({ uuid }) => uuid)
        .sort(),
      lost.map(({ uuid }) => uuid).sort(),
    )
    assert.equal(written.find(({ kind }) => kind === 'orphan').key, orphan)
    const { kind, complete, belongTogether, index, indexed, present, findings, young } = summary
    assert.deepEqual(
      { kind, complete, belongTogether, index, indexed, present, findings, young },
      {
        kind: 'summary',
        complete: true,
        belongTogether: true,
        index: 'an index in a file',
        indexed: 24,
        present: 1,
        findings: {
          missing: 23,
          'wrong size': 0,
          corrupt: null,
          'unknown key': null,
          orphan: 1,
          double: 0,
          leftover: 0,
        },
        young: 1,
      },
    )
  })

  it('prints nothing but JSON to standard output where that is asked for', () => {
    const site = new VerifySite()
    site.add({ lost: true })
    const { status, lines } = site.run({ json: '-' })
    assert.deepEqual(
      lines.map(line => JSON.parse(line).kind),
      ['missing', 'summary'],
    )
    assert.equal(status, 1)
  })

  it('compares the disk of a hybrid mode, too', () => {
    const site = new VerifySite({ HybridMode: 'WriteToFileSystem' }, { StorageDirectory: 'disk' })
    site.add()
    site.add({ where: 'disk' })
    const double = site.add({ where: 'disk', text: 'twice' })
    site.write(`${double.uuid}.dcm`, 'twice')
    const lost = site.add({ lost: true })
    const { status, lines } = site.run({ json: '-' })
    const found = lines.map(line => JSON.parse(line))
    const summary = found.pop()
    assert.deepEqual(found.map(({ kind, key }) => `${kind} ${key}`).sort(), [
      `double ${double.uuid}.dcm`,
      `missing ${lost.uuid.slice(0, 2)}/${lost.uuid.slice(2, 4)}/${lost.uuid}`,
    ])
    assert.deepEqual(
      summary.places.map(({ store, objects }: { store: string; objects: number }) => [store, objects]),
      [
        [`directory:${site.folder}/disk`, 2],
        [`directory:${site.folder}/objects`, 2],
      ],
    )
    assert.equal(status, 1)
  })

  it('begins with a warning when index and store do not belong together', () => {
    const site = new VerifySite()
    site.write(`${randomUUID()}.dcm`, 'x', { fresh: true })
    const { status, lines } = site.run()
    assert.match(lines[0] ?? '', /^The index \(an index in a file\) and directory:.* probably do not belong together: /)
    assert.equal(status, 1)
  })

  it('ends with 3 when it was interrupted, or the index could not be read, with a report that says so', () => {
    for (const event of ['fails', 'is interrupted'] as const) {
      const site = new VerifySite()
      for (let i = 0; i < 4; i++) site.add()
      const json = join(site.folder, 'report.jsonl')
      const { status, lines, stderr } = site.run({ json }, { event })
      assert.equal(status, 3)
      assert.equal(lines[0], 'This report is partial: not everything could be looked at.')
      assert.match(stderr, event === 'fails' ? /: the index is away/ : /: interrupted by SIGINT/)
      const [summary, ...more] = linesOf(json)
      assert.deepEqual([summary.complete, summary.belongTogether, more], [false, null, []])
    }
  })

  it('ends with 3 and one line where it cannot begin', () => {
    const site = new VerifySite()
    const empty = join(site.folder, 'empty.json')
    writeFileSync(empty, '{}')
    const cases: readonly [Partial<VerifyArguments>, RegExp][] = [
      [{ config: [empty] }, /no section of a storage provider/],
      [{ config: [join(site.folder, 'none.json')] }, /there is no such file/],
      [{ scratch: '/nowhere/at/all' }, /no scratch file can be made in \/nowhere\/at\/all: ENOENT.*--scratch/],
      [{ json: '/nowhere/at/all' }, /cannot write \/nowhere\/at\/all: there is no folder/],
    ]
    for (const [options, words] of cases) {
      const { status, lines, stderr } = site.run(options)
      assert.deepEqual([status, lines], [3, ['']])
      assert.match(stderr, words)
      assert.equal(stderr.trimEnd().split('\n').length, 1)
    }
    rmSync(join(site.folder, 'objects'), { recursive: true })
    assert.equal(site.run().status, 3) // not everything is missing: the folder is
  })
})

describe('the progress of verify', () => {
  it('counts while it lists, then says how much is done and how long it will take', () => {
    let now = 1000
    const tally = emptyTally(['s'])
    const verification = { phase: 'listing' as Verification['phase'], share: 0, tally, listedAt: 3000 }
    const progress = new VerifyProgress(verification, true, () => now)
    tally.indexed = 100
    Object.assign(tally.places[0] ?? {}, { objects: 300 })
    now = 3000
    assert.deepEqual(progress.position, {
      share: undefined,
      text: '100 files in the index, 300 objects listed, 200 a second',
    })
    verification.phase = 'comparing'
    assert.equal(progress.position.text, '0 files read (0 bytes), 0 a second, 0 look wrong')
    now = 13_000
    verification.share = 0.25
    Object.assign(tally.read, { files: 50, bytes: 5000 })
    tally.suspects = 2
    assert.deepEqual(progress.position, {
      share: 0.25,
      text: '50 files read (5.0 KB), 5 a second, 2 look wrong, 30 seconds left',
    })
    verification.phase = 'looking again'
    tally.findings.missing = 1
    const { text } = progress.position
    assert.equal(text, '2 to be looked at again, 1 found, 0 well')
    assert.equal(progress.seconds, 12)
  })

  it('says times and rates as people do', () => {
    assert.deepEqual([0, 1, 119, 120, 7199, 7200, 172_800].map(timeOf), [
      '0 seconds',
      '1 second',
      '119 seconds',
      '2 minutes',
      '120 minutes',
      '2 hours',
      '2 days',
    ])
    assert.equal(rate(10, 4), '3 a second')
  })
})
