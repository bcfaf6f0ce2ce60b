import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import type { VerifyArguments } from '../../src/cli/verify.ts'
import type { Indexed } from '../../src/orthanc-index/orthanc-index.ts'
import type { IndexFile } from './verify-run.ts'
import { md5Of } from './verify-stage.ts'

const root = mkdtempSync(join(tmpdir(), 'ocs-verify-'))
after(() => rmSync(root, { recursive: true, force: true }))
let indexes = 0

/** A directory store with an index in memory, for `verify` as a process. */
export class VerifySite {
  readonly folder = mkdtempSync(join(root, 'site-'))
  readonly config = join(this.folder, 'orthanc.json')
  readonly files: Indexed[] = []

  constructor(more: object = {}, orthanc: object = {}) {
    for (const name of ['objects', 'disk', 'scratch']) mkdirSync(join(this.folder, name))
    const text = { ...orthanc, DirectoryStorage: { Path: join(this.folder, 'objects'), ...more } }
    writeFileSync(this.config, JSON.stringify(text))
  }

  /** A file of two days ago, unless it is `fresh`. */
  write(key: string, text: string, { where = 'objects', fresh = false } = {}): void {
    const path = join(this.folder, where, key)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    const old = new Date(Date.now() - 2 * 24 * 3600 * 1000)
    if (!fresh) utimesSync(path, old, old)
  }

  add({ lost = false, where = 'objects', text = 'a file' } = {}): Indexed {
    const uuid = randomUUID()
    const file = { uuid, type: 'dicom', size: text.length, md5: md5Of(Buffer.from(text)) } as const
    this.files.push(file)
    const key = where === 'disk' ? `${uuid.slice(0, 2)}/${uuid.slice(2, 4)}/${uuid}` : `${uuid}.dcm`
    if (!lost) this.write(key, text, { where })
    return file
  }

  run(more: Partial<VerifyArguments> = {}, index: Omit<IndexFile, 'files'> = {}) {
    const [command, ...args] = this.words(more, index)
    const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
    return { status, lines: stdout.trimEnd().split('\n'), stderr }
  }

  /** Of the command. */
  words(more: Partial<VerifyArguments> = {}, index: Omit<IndexFile, 'files'> = {}): readonly [string, ...string[]] {
    const options: VerifyArguments = {
      config: [this.config],
      olderThan: 24 * 3600 * 1000,
      settle: 0,
      concurrency: 4,
      scratch: join(this.folder, 'scratch'),
      ...more,
    }
    const script = join(import.meta.dirname, 'verify-run.ts')
    const file = join(this.folder, `index${indexes++}.json`)
    writeFileSync(file, JSON.stringify({ files: this.files, ...index }))
    return [process.execPath, script, JSON.stringify(options), `@${file}`]
  }
}

/** JSON, one object a line. */
export const linesOf = (file: string) =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
