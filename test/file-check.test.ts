/**
 * What a file system cannot do is said when Orthanc starts, not with the first image; and what a write leaves is
 * durable.
 */
import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import fs, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { writeOutput } from '../src/cli/output.ts'
import { compose } from '../src/compose.ts'
import { parseConfig } from '../src/config/config.ts'
import type { Fault } from '../src/fault.ts'
import { logTo } from '../src/log.ts'
import { directoryStore } from '../src/stores/directory/directory.ts'
import { MARKER } from '../src/stores/directory/names.ts'

const never = new AbortController().signal
const bytes = Buffer.from('the bytes of a file')
const legacy = '0a/1b/0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d'
const errno = (code: string) => Object.assign(new Error(`${code}: not as it should be, op '/x'`), { code })

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ocs-check-'))
})
afterEach(() => {
  mock.restoreAll()
  syncBuiltinESMExports()
  rmSync(root, { recursive: true, force: true })
})

/** Lets one function of the file system fail, as a mounted bucket or an old share does. */
function failing(name: 'rename' | 'mkdir' | 'unlink' | 'rmdir' | 'access', code: string): void {
  mock.method(fs, name, () => Promise.reject(errno(code)))
  syncBuiltinESMExports()
}

/** Notes every sync of a file or folder, by its name. `fails`: for the folders. */
async function hearingSyncs(fails?: string): Promise<string[]> {
  const heard: string[] = []
  const open = fs.open
  mock.method(fs, 'open', async (...all: Parameters<typeof open>) => {
    const handle: FileHandle = await open(...all)
    const sync = handle.sync.bind(handle)
    handle.sync = async () => {
      const folder = (await handle.stat()).isDirectory()
      if (folder && fails) throw errno(fails)
      await sync()
      heard.push(folder ? `${basename(String(all[0]))}/` : 'file')
    }
    return handle
  })
  syncBuiltinESMExports()
  return heard
}

describe('the check of a folder', () => {
  it('does what a write and a removal do, and leaves nothing', async () => {
    const heard = await hearingSyncs()
    await directoryStore(root).check(never, { warn: () => {} })
    assert.ok(heard.includes('file') && heard.some(name => name.endsWith('.tmp/')))
    assert.deepEqual(readdirSync(root), [MARKER])
  })

  for (const [name, code, fault] of [
    [
      'rename',
      'ENOSYS',
      { code: 'BadConfig', message: /not possible to rename a file in/, remedy: /For a bucket, use its own section/ },
    ],
    ['rename', 'EINVAL', { code: 'BadConfig' }],
    ['rename', 'EPERM', { code: 'Denied', message: /not possible to rename a file in/ }],
    ['unlink', 'EIO', { code: 'Unavailable', message: /not possible to remove a file in/ }],
    ['mkdir', 'ENOTSUP', { code: 'BadConfig', message: /not possible to make a folder in/ }],
    ['rename', 'EIO', { code: 'Unavailable' }],
  ] as const)
    it(`says that ${name} fails with ${code}, and leaves nothing`, async () => {
      await directoryStore(root).check(never, { warn: () => {} })
      failing(name, code)
      await assert.rejects(directoryStore(root).check(never), fault)
      if (name !== 'unlink') assert.deepEqual(readdirSync(root), [MARKER])
    })

  for (const [name, code, line] of [
    ['rename', 'ENOSPC', /takes no more files until there is room: .*Make room/],
    ['mkdir', 'EDQUOT', /takes no more files until there is room/],
    ['unlink', 'EPERM', /^there is no permission to remove, so what Orthanc removes will stay/],
    ['rmdir', 'EACCES', /^there is no permission to remove/],
  ] as const)
    it(`warns, and does not keep Orthanc from reading, when ${name} fails with ${code}`, async () => {
      await directoryStore(root).check(never, { warn: () => {} })
      failing(name, code)
      const warnings: string[] = []
      await directoryStore(root).check(never, { warn: line => warnings.push(line) })
      assert.match(warnings.at(-1) ?? '', line)
    })

  it('takes a full disk that was never marked, and marks it when there is room', async () => {
    writeFileSync(join(root, 'file'), 'x')
    const open = fs.open
    const full = mock.method(fs, 'open', async (...all: Parameters<typeof open>) => {
      const handle: FileHandle = await open(...all)
      handle.writeFile = () => Promise.reject(errno('ENOSPC'))
      return handle
    })
    syncBuiltinESMExports()
    const store = directoryStore(root)
    const warnings: string[] = []
    await store.check(never, { warn: line => warnings.push(line) })
    assert.match(warnings.join(), /until there is room/)
    full.mock.restore()
    syncBuiltinESMExports()
    await store.put(legacy, sourceOf(bytes), never)
    assert.match(readFileSync(join(root, MARKER), 'utf8'), /Do not remove/)
  })

  it('asks for no permission to write when it is told so, and a status writes nothing', async () => {
    writeFileSync(join(root, 'file'), 'x')
    failing('mkdir', 'EROFS')
    const store = directoryStore(root)
    await store.check(never, { writes: false })
    await store.check(never, { purpose: 'status' })
    assert.deepEqual(readdirSync(root), ['file'])
    await assert.rejects(store.check(never), { code: 'Denied' })
  })

  for (const code of ['EINVAL', 'ENOTSUP', 'ENOSYS'])
    it(`tells once of a file system that answers ${code} to the sync of a folder, and writes go on`, async () => {
      await hearingSyncs(code)
      const warnings: string[] = []
      const store = directoryStore(root)
      await store.check(never, { warn: line => warnings.push(line) })
      assert.match(warnings.at(-1) ?? '', /cannot sync folders/)
      await store.put(legacy, sourceOf(bytes), never)
      assert.equal((await store.stat(legacy, never))?.size, bytes.byteLength)
    })

  it('and neither does the command line call a file a failure that is whole and there', async () => {
    await hearingSyncs('EINVAL')
    const file = join(root, 'out')
    await writeOutput(file, sourceOf(bytes).open(), { force: false, mode: 0o600 })
    assert.deepEqual(readFileSync(file), bytes)
    mock.restoreAll()
    await hearingSyncs('EIO')
    await assert.rejects(writeOutput(file, sourceOf(bytes).open(), { force: true, mode: 0o600 }), {
      message: /^cannot write .*out: its disk, or the way to it, fails/,
    })
  })

  for (const [name, purpose] of [
    ['access', 'look'],
    ['mkdir', 'start'],
  ] as const)
    for (const code of ['EACCES', 'EROFS'])
      it(`says at a ${purpose} of a folder that may not be made what to do (${code})`, async () => {
        failing(name, code)
        const store = directoryStore(join(root, 'objects'))
        await assert.rejects(store.check(never, { purpose }), (fault: Fault) => {
          assert.equal(fault.code, 'BadConfig')
          assert.match(fault.describe(), /objects cannot be made: .*give it to the user that runs Orthanc/)
          return true
        })
      })

  it('takes another failure to sync a folder for one', async () => {
    await hearingSyncs('EIO')
    await assert.rejects(directoryStore(root).check(never), { code: 'Unavailable' })
  })
})

describe("Orthanc's own disk, where new files go to the object store", () => {
  const hybrid = (HybridMode: string, StorageDirectory: string) => {
    const warnings: string[] = []
    const warn = (line: string) => void warnings.push(line)
    const { config } = parseConfig(
      JSON.stringify({ DirectoryStorage: { Path: join(root, 'store'), HybridMode }, StorageDirectory }),
    )
    assert.ok(config)
    const { hybrid: made } = compose(
      config,
      logTo(() => {}),
    )
    return { check: async () => made?.fileSystem.check(never, { warn }), warnings }
  }

  for (const [name, code] of [
    ['mkdir', 'EROFS'],
    ['mkdir', 'EACCES'],
    ['rename', 'ENOSYS'],
  ] as const)
    it(`may be one that only gives what it has (${name}: ${code})`, async () => {
      const old = join(root, 'old')
      mkdirSync(old)
      writeFileSync(join(old, 'file'), 'x')
      failing(name, code)
      const { check, warnings } = hybrid('WriteToObjectStorage', old)
      await check()
      assert.match(warnings.join(), /moves to Orthanc's disk will fail.*not possible to/)
      await assert.rejects(hybrid('WriteToFileSystem', old).check())
    })

  it('is made as Orthanc makes it, with the folders above it', async () => {
    const deep = join(root, 'a', 'b', 'c')
    await hybrid('WriteToObjectStorage', deep).check()
    assert.ok(statSync(deep).isDirectory())
  })

  it('is none when it is a file, whatever the mode', async () => {
    const file = join(root, 'file')
    writeFileSync(file, 'x')
    for (const mode of ['WriteToObjectStorage', 'WriteToFileSystem'])
      await assert.rejects(hybrid(mode, file).check(), { code: 'BadConfig', message: /is not a folder/ })
  })
})

describe('the folders of a new file', () => {
  it('are synced up to the first that was there, by each write below them', async () => {
    const store = directoryStore(root)
    await store.check(never, { warn: () => {} })
    const heard = await hearingSyncs()
    await store.put(legacy, sourceOf(bytes), never)
    assert.deepEqual(heard.splice(0), ['file', '1b/', '0a/', `${basename(root)}/`])
    await store.put(legacy.replace(/d$/, 'e'), sourceOf(bytes), never)
    assert.deepEqual(heard, ['file', '1b/'])
  })

  it('are synced by a second writer, too, while the first has not come so far', async () => {
    const store = directoryStore(root, { limits: { threads: 8 } })
    await store.check(never, { warn: () => {} })
    const heard = await hearingSyncs()
    const held = Promise.withResolvers<void>()
    const first = store.put(
      legacy,
      {
        size: bytes.byteLength,
        async *open() {
          await held.promise // the folders are made, and nothing is synced
          yield bytes
        },
      },
      never,
    )
    while (!readdirSync(root).includes('0a') || !readdirSync(join(root, '0a')).includes('1b'))
      await new Promise(resolve => setImmediate(resolve))
    await store.put(legacy.replace(/d$/, 'e'), sourceOf(bytes), never)
    assert.deepEqual(heard, ['file', '1b/', '0a/', `${basename(root)}/`])
    held.resolve()
    await first
  })

  it('and the file reach the disk when they are told to settle, though writes do not wait for that', async () => {
    const store = directoryStore(root, { sync: false })
    await store.check(never, { warn: () => {} })
    const heard = await hearingSyncs()
    await store.put(legacy, sourceOf(bytes), never)
    assert.deepEqual(heard, [])
    await store.settle(legacy, never)
    assert.deepEqual(heard, ['file', '1b/', '0a/', `${basename(root)}/`])
  })
})

it('a move to the disk of Orthanc is synced before its original goes, whatever SyncStorageArea says', async () => {
  const [StorageDirectory, Path] = [join(root, 'disk'), join(root, 'cloud')]
  const config = {
    StorageDirectory,
    SyncStorageArea: false,
    DirectoryStorage: { Path, HybridMode: 'WriteToFileSystem' },
  }
  const parsed = parseConfig(JSON.stringify(config)).config
  assert.ok(parsed)
  const { hybrid, store, area } = compose(
    parsed,
    logTo(() => {}),
  )
  assert.ok(hybrid)
  for (const place of [store, hybrid.fileSystem]) await place.check(never, { warn: () => {} })
  const attachment = { uuid: basename(legacy), type: 'dicom' } as const
  const heard = await hearingSyncs()
  await area.create(attachment, sourceOf(bytes), never)
  assert.equal(heard.length, 0)
  await hybrid.area.move(attachment, 'object-storage', { keepSource: false }, never)
  heard.length = 0
  const unlinking = fs.unlink
  mock.method(fs, 'unlink', async (...all: Parameters<typeof unlinking>) => {
    if (String(all[0]).startsWith(Path)) heard.push('the original goes')
    return unlinking(...all)
  })
  syncBuiltinESMExports()
  assert.equal(await hybrid.area.move(attachment, 'file-system', { keepSource: false }, never), 'moved')
  assert.deepEqual(heard.slice(0, 5), ['file', '1b/', '0a/', 'disk/', 'the original goes'])
})

describe('a file that is written again', { skip: process.geteuid?.() !== 0 && 'only root may give files away' }, () => {
  const ownerOf = (name: string) => {
    const { uid, gid, mode } = statSync(join(root, name))
    return [uid, gid, (mode & 0o7777).toString(8)]
  }

  it('keeps owner, group and mode', async () => {
    writeFileSync(join(root, 'file'), 'old')
    chownSync(join(root, 'file'), 1234, 4321)
    chmodSync(join(root, 'file'), 0o664)
    for (const role of ['owner', 'guest'] as const) {
      await directoryStore(root, { role }).put('file', sourceOf(bytes), never)
      assert.deepEqual(ownerOf('file'), [1234, 4321, '664'])
    }
  })

  it('leaves no file and no folder of its own to a guest', async () => {
    chownSync(root, 1234, 4321)
    writeFileSync(join(root, 'other'), '')
    const store = directoryStore(root, { role: 'guest' })
    await store.check(never)
    await store.put(legacy, sourceOf(bytes), never)
    for (const name of ['0a', '0a/1b', legacy]) assert.deepEqual(ownerOf(name).slice(0, 2), [1234, 4321], name)
  })

  it('is refused before a byte is written when its owner cannot be kept', async () => {
    writeFileSync(join(root, 'file'), 'old')
    chownSync(join(root, 'file'), 1234, 4321)
    const open = fs.open
    mock.method(fs, 'open', async (...all: Parameters<typeof open>) => {
      const handle = await open(...all)
      handle.chown = () => Promise.reject(errno('EPERM'))
      return handle
    })
    syncBuiltinESMExports()
    let opened = false
    const body = {
      size: bytes.byteLength,
      async *open() {
        opened = true
        yield bytes
      },
    }
    const store = directoryStore(root, { role: 'guest' })
    const refused = { code: 'Denied', remedy: /as the user that runs Orthanc, or as root/ }
    await assert.rejects(store.put('file', body, never), refused)
    assert.equal(opened, false)
    assert.deepEqual(readdirSync(root), ['file'])
  })
})

describe('a folder at the top of a disk', () => {
  it('is listed without what the system keeps there', async () => {
    for (const name of ['lost+found', 'ab']) mkdirSync(join(root, name))
    writeFileSync(join(root, 'ab', 'file'), '')
    writeFileSync(join(root, 'lost+found', '#1'), '')
    const found: string[] = []
    for await (const { key } of directoryStore(root).list('', never)) found.push(key)
    assert.deepEqual(found, ['ab/file'])
  })
})
