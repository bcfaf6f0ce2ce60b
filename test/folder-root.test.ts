/** A folder is what it was: what each verb says when the disk behind it is gone, another one, or back. */
import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { until } from '../harness/until.ts'
import { collect, type Source, sourceOf } from '../src/bytes.ts'
import { type DirectoryOptions, directoryStore } from '../src/stores/directory/directory.ts'
import { unmountedAbove } from '../src/stores/directory/mounts.ts'
import { MARKER } from '../src/stores/directory/names.ts'
import type { Role } from '../src/stores/directory/root.ts'
import type { Store } from '../src/stores/store.ts'

const never = new AbortController().signal
const bytes = Buffer.from('the bytes of a file')
const flat = '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d.dcm'
const legacy = '0a/1b/0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d'

let folder: string
let root: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ocs-root-'))
  root = join(folder, 'root')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const away = () => renameSync(root, `${root}.away`)
const emptied = () => {
  away()
  mkdirSync(root)
}
const back = () => {
  rmSync(root, { recursive: true, force: true })
  renameSync(`${root}.away`, root)
}
const keys = async (store: Store) => {
  const found: string[] = []
  for await (const { key } of store.list('', never)) found.push(key)
  return found
}
const checked = async (options: DirectoryOptions = {}) => {
  const warnings: string[] = []
  const store = directoryStore(root, options)
  await store.check(never, { warn: line => warnings.push(line) })
  return { store, warnings }
}
const everythingIsUnavailable = async (store: Store, key: string, absent: string) => {
  const verbs = {
    get: () => store.get(absent, undefined, never),
    getOfOneThatWasThere: () => store.get(key, undefined, never),
    stat: () => store.stat(absent, never),
    remove: () => store.remove(absent, never),
    removeOfOneThatWasThere: () => store.remove(key, never),
    put: () => store.put(absent, sourceOf(bytes), never),
    list: () => keys(store),
    check: () => store.check(never),
    status: () => store.check(never, { purpose: 'status' }),
  }
  for (const [verb, ask] of Object.entries(verbs))
    await assert.rejects(ask(), { code: 'Unavailable', remedy: /Mount what should be there/ }, verb)
}

for (const [kind, options] of [
  ['a folder of ours', {}],
  ["Orthanc's own folder", { marked: false }],
] as const)
  describe(kind, () => {
    for (const [structure, key, absent] of [
      ['flat', flat, flat.replace('0a', 'ff')],
      ['legacy', legacy, legacy.replaceAll('0a', 'ff')],
    ] as const)
      for (const [what, gone] of [
        ['that is gone', () => away()],
        ['in whose place there is an empty one', emptied],
        ['in whose place there is a file', () => void [away(), writeFileSync(root, 'x')]],
        ['whose parent is gone', () => void [away(), renameSync(folder, `${folder}.away`)]],
      ] as const)
        it(`${what} is neither empty nor made again, and is the same when it comes back (${structure})`, async () => {
          const { store } = await checked(options)
          await store.put(key, sourceOf(bytes), never)
          gone()
          await everythingIsUnavailable(store, key, absent)
          if (existsSync(`${folder}.away`)) renameSync(`${folder}.away`, folder)
          if (existsSync(root) && !readFileSyncOr(root)) assert.deepEqual(readdirSync(root), [])
          back()
          assert.deepEqual(await collect(await store.get(key, undefined, never)), bytes)
          assert.deepEqual(await keys(store), [key])
          assert.equal(await store.stat(absent, never), undefined)
          await store.put(absent, sourceOf(bytes), never)
          await store.remove(absent, never)
          await store.remove(absent, never)
          await store.check(never)
        })

    it('is not what lies below its mount point, though folders of the same names are there', async () => {
      const { store } = await checked(options)
      await store.put(legacy, sourceOf(bytes), never)
      emptied()
      mkdirSync(join(root, '0a', '1b'), { recursive: true }) // what an older version wrote there one day
      await assert.rejects(store.put(legacy, sourceOf(bytes), never), { code: 'Unavailable' })
      assert.deepEqual(readdirSync(join(root, '0a', '1b')), [])
    })

    it('that vanishes while a file is written takes no file in its place', async () => {
      for (const key of [flat, legacy]) {
        const { store } = await checked(options)
        const vanishing: Source = {
          size: bytes.byteLength,
          async *open() {
            if (existsSync(`${root}.away`)) return
            emptied()
            yield bytes
          },
        }
        await assert.rejects(store.put(key, vanishing, never), { code: 'Unavailable' }, key)
        assert.deepEqual(readdirSync(root), [])
        back()
        const left = () =>
          readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.tmp'))
        assert.equal(left().length, 1, 'what was begun is out of reach until the folder is back')
        await store.put(key, sourceOf(bytes), never)
        await until('the next write to remove it', () => left().length === 0)
      }
    })

    it('that vanishes while it is listed is not a shorter list', async () => {
      const { store } = await checked(options)
      for (const key of ['0a/1', '0b/1', '0c/1']) await store.put(key, sourceOf(bytes), never)
      await assert.rejects(
        async () => {
          for await (const _ of store.list('', never)) if (!existsSync(`${root}.away`)) away()
        },
        { code: 'Unavailable' },
      )
    })

    it('is warned of when it was there and is empty', async () => {
      mkdirSync(root)
      const { warnings } = await checked(options)
      assert.match(warnings.join('\n'), /the folder .* is empty: if files were stored there before/)
    })
  })

function readFileSyncOr(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

describe('the marker', () => {
  it('is made in a new folder and in one that was used before, once, and is never listed nor a key', async () => {
    await checked()
    const text = readFileSync(join(root, MARKER), 'utf8')
    assert.match(text, /^orthanc-cloud-storage keeps files in this folder.* [0-9a-f-]{36}\n$/)
    const { store } = await checked()
    assert.equal(readFileSync(join(root, MARKER), 'utf8'), text)
    assert.deepEqual(await keys(store), [])
    await assert.rejects(store.remove(MARKER, never), { code: 'BadRequest' })
    rmSync(join(root, MARKER))
    writeFileSync(join(root, flat), 'used before')
    const { store: again, warnings } = await checked()
    assert.ok(existsSync(join(root, MARKER)))
    assert.deepEqual([await keys(again), warnings], [[flat], []])
  })

  it('makes a folder the same one, wherever it is', async () => {
    const { store } = await checked()
    await store.put(flat, sourceOf(bytes), never)
    away()
    mkdirSync(root) // as after a copy to a new disk: other inodes, other device
    for (const name of readdirSync(`${root}.away`))
      writeFileSync(join(root, name), readFileSync(join(`${root}.away`, name)))
    assert.equal(await store.stat('absent', never), undefined)
    await store.put('other', sourceOf(bytes), never)
    assert.deepEqual(await keys(store), [flat, 'other'])
  })

  it('of another folder is not its own', async () => {
    const { store } = await checked()
    away()
    await directoryStore(root).check(never)
    await assert.rejects(store.stat('absent', never), { code: 'Unavailable', message: /another folder/ })
    await assert.rejects(store.put(flat, sourceOf(bytes), never), { code: 'Unavailable' })
  })

  it('that a crash left empty is written again', async () => {
    mkdirSync(root)
    writeFileSync(join(root, MARKER), '')
    const { store } = await checked()
    assert.match(readFileSync(join(root, MARKER), 'utf8'), /[0-9a-f-]{36}\n$/)
    assert.equal(await store.stat('absent', never), undefined)
  })

  it('is named when it cannot be read', async () => {
    mkdirSync(join(root, MARKER), { recursive: true })
    await assert.rejects(directoryStore(root).check(never), {
      code: 'Denied',
      message: /the file \.orthanc-cloud-storage in .* cannot be read/,
    })
  })

  it('is made by the first write where nobody checked', async () => {
    const store = directoryStore(root)
    await assert.rejects(store.stat(flat, never), { code: 'Unavailable' })
    await store.put(legacy, sourceOf(bytes), never)
    assert.deepEqual(readdirSync(root).sort(), [MARKER, '0a'])
  })
})

describe('the role of a process', () => {
  const make = (role: Role) => directoryStore(root, { role })

  it('a successor makes nothing, and takes no empty folder for the one that was used', async () => {
    const store = make('successor')
    await assert.rejects(store.put(legacy, sourceOf(bytes), never), { code: 'Unavailable' })
    mkdirSync(root)
    await assert.rejects(store.put(legacy, sourceOf(bytes), never), { code: 'Unavailable' })
    await assert.rejects(store.remove(flat, never), { code: 'Unavailable' })
    assert.deepEqual(readdirSync(root), [])
    await directoryStore(root).check(never)
    await store.put(legacy, sourceOf(bytes), never)
    assert.deepEqual(await keys(store), [legacy])
  })

  it('a guest makes nothing, and takes a folder without a marker', async () => {
    await assert.rejects(make('guest').check(never), { code: 'Unavailable' })
    assert.equal(existsSync(root), false)
    mkdirSync(root)
    writeFileSync(join(root, flat), 'x')
    const store = make('guest')
    await store.check(never)
    assert.deepEqual(await keys(store), [flat])
    assert.deepEqual(readdirSync(root), [flat])
    emptied()
    await assert.rejects(keys(store), { code: 'Unavailable' })
  })

  it('a look makes nothing and says what would be made', async () => {
    const warnings: string[] = []
    await make('owner').check(never, { purpose: 'look', warn: line => warnings.push(line) })
    assert.match(warnings[0] ?? '', /is not there yet: Orthanc creates it/)
    assert.equal(existsSync(root), false)
    mkdirSync(root)
    await make('owner').check(never, { purpose: 'look' })
    assert.deepEqual(readdirSync(root), [])
  })
})

describe('a mount point of /etc/fstab', () => {
  const fstab =
    '# comment\nUUID=1 / ext4 defaults 0 1\nnas:/x  /mnt/my\\040nas/  nfs  noauto 0 0\nswap none swap sw 0 0\n'
  const mounted = (...points: string[]) => points.map(point => `36 35 98:0 / ${point} rw - ext3 /dev/x rw`).join('\n')
  const machine = (mountinfo: string) => async (file: string) => (file === '/etc/fstab' ? fstab : mountinfo)

  it('is told when nothing is mounted there', async () => {
    const nothing = machine(mounted('/', '/proc'))
    assert.equal(await unmountedAbove('/mnt/my nas/orthanc', nothing), '/mnt/my nas')
    assert.equal(await unmountedAbove('/mnt/my nas', nothing), '/mnt/my nas')
    assert.equal(await unmountedAbove('/mnt/my nas 2/orthanc', nothing), undefined)
    assert.equal(await unmountedAbove('/mnt/my nas/orthanc', machine(mounted('/', '/mnt/my\\040nas'))), undefined)
    assert.equal(await unmountedAbove('/mnt/my nas/orthanc', async () => ''), undefined)
  })

  it('refuses an empty folder there, but none that has files', async () => {
    const store = (unmounted = async (): Promise<string | undefined> => folder) => directoryStore(root, { unmounted })
    const refused = { code: 'Unavailable', message: /nothing is mounted on/, remedy: /^Mount / }
    await assert.rejects(store().check(never), refused)
    assert.equal(existsSync(root), false)
    mkdirSync(root)
    await assert.rejects(store().check(never), refused)
    await assert.rejects(store().put(flat, sourceOf(bytes), never), refused)
    assert.deepEqual(readdirSync(root), [])
    writeFileSync(join(root, flat), 'used before')
    await store().check(never)
  })

  it('is found through links, above a folder that is still to be made, too', async () => {
    const mount = join(folder, 'mount')
    mkdirSync(mount)
    symlinkSync(mount, join(folder, 'link'))
    const unmounted = async (path: string) => (path.startsWith(mount) ? mount : undefined)
    for (const path of ['', 'below', 'below/further'].map(name => join(folder, 'link', name)))
      await assert.rejects(directoryStore(path, { unmounted }).check(never), {
        code: 'Unavailable',
        message: /nothing is mounted on/,
      })
    assert.deepEqual(readdirSync(mount), [])
  })
})

describe('symbolic links that an administrator made', () => {
  it('are followed by every verb, for files and folders', async () => {
    const { store } = await checked()
    const other = join(folder, 'other')
    mkdirSync(join(other, '1b'), { recursive: true })
    writeFileSync(join(other, '1b', 'file'), bytes)
    writeFileSync(join(other, 'single'), bytes)
    symlinkSync(other, join(root, '0a'))
    symlinkSync(join(other, 'single'), join(root, flat))
    symlinkSync(root, join(other, 'circle'))
    for (const key of ['0a/1b/file', flat]) {
      assert.equal((await store.stat(key, never))?.size, bytes.byteLength)
      assert.deepEqual(await collect(await store.get(key, undefined, never)), bytes)
    }
    assert.deepEqual(await keys(store), ['0a/1b/file', '0a/single', flat])
    await store.put('0a/1c/new', sourceOf(bytes), never)
    assert.ok(existsSync(join(other, '1c', 'new')))
  })

  it('that lead to nothing hide what may be there: no absence', async () => {
    const { store } = await checked()
    symlinkSync(join(folder, 'not-mounted'), join(root, '0a'))
    symlinkSync(join(folder, 'not-mounted', 'x'), join(root, flat))
    for (const key of ['0a/1b/file', flat]) {
      await assert.rejects(store.get(key, undefined, never), {
        code: 'Unavailable',
        remedy: /^Mount what it points to/,
      })
      await assert.rejects(store.stat(key, never), { code: 'Unavailable' })
    }
    await assert.rejects(store.remove('0a/1b/file', never), { code: 'Unavailable' })
    await assert.rejects(keys(store), { code: 'Unavailable' })
    assert.equal(await store.stat('0b/absent', never), undefined)
  })

  it('stay when what they lead to is written again', async () => {
    mkdirSync(root)
    writeFileSync(join(folder, 'target'), 'old')
    symlinkSync(join(folder, 'target'), join(root, flat))
    await directoryStore(root, { role: 'guest' }).put(flat, sourceOf(bytes), never)
    assert.deepEqual(readFileSync(join(folder, 'target')), bytes)
  })
})
