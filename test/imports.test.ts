/** The import rules of ARCHITECTURE.md, and the size of files. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
const files = (folder: string, ending: RegExp) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => ending.test(name))
    .map(name => join(folder, name))

interface Import {
  readonly from: string
  readonly to: string
  readonly typeOnly: boolean
}

const imports: Import[] = files('src', /\.ts$/).flatMap(from => {
  const text = readFileSync(join(root, from), 'utf8')
  const found = text.matchAll(/^(?:import|export)\s+(type\s)?[^'\n]*?(?:\n[^']*?)?from '([^']+)'|import\('([^']+)'\)/gm)
  return [...found].map(([, type, fixed, dynamic]) => {
    const to = fixed ?? dynamic ?? ''
    return { from, to: to.startsWith('.') ? normalize(join(dirname(from), to)) : to, typeOnly: type !== undefined }
  })
})

const isOurs = (to: string) => to.startsWith('src/')
const all = (holds: (edge: Import) => boolean, of: (edge: Import) => boolean) =>
  assert.deepEqual(
    imports.filter(edge => of(edge) && !holds(edge)).map(edge => `${edge.from} imports ${edge.to}`),
    [],
  )
const inCache = (path: string) => path.startsWith('src/stores/cache/')
/** What a cache needs to know of disks and of processes. */
const ofDisks = /^src\/stores\/directory\/(disk|faults|lease-process|lease-watch)\.ts$/
const inRoom = (room: string) => (edge: Import) => edge.from.startsWith(`src/${room}/`)

describe('import rules', () => {
  it('finds imports at all', () => assert.ok(imports.length > 60))

  it('fault imports nothing, bytes only fault', () =>
    all(
      edge => edge.from === 'src/bytes.ts' && edge.to === 'src/fault.ts',
      edge => ['src/fault.ts', 'src/bytes.ts'].includes(edge.from),
    ))

  it('a file beside the rooms knows what its row says', () => {
    const rows: Readonly<Record<string, RegExp>> = {
      'src/version.ts': /^(?!)/,
      'src/no-debugger.ts': /^(?!)/,
      'src/home.ts': /^node:os$/,
      'src/orthanc.ts': /^(?!)/,
      'src/orthanc-folder.ts': /^node:(fs|path)$/,
      'src/log.ts': /^pino$/,
      'src/startup.ts': /^src\/(fault|log)\.ts$|^src\/stores\/store\.ts$|^node:timers/,
      'src/services.ts': /^src\/(compose|log|version)\.ts$|^src\/(routes|wire|explorer|prefetch)\//,
      'src/verify-places.ts': /^src\/fault\.ts$|^src\/(verify|area|seal|stores|config|deletions)\//,
      'src/hybrid-mode.ts': /^src\/(fault|log)\.ts$|^src\/(area|moves|seal|stores|config)\/|^node:(crypto|path)$/,
    }
    for (const [file, allowed] of Object.entries(rows))
      all(
        ({ to }) => allowed.test(to),
        ({ from }) => from === file,
      )
  })

  it('area knows interfaces only: no built-in module, no package, no configuration', () =>
    all(
      ({ to, typeOnly }) =>
        ['src/fault.ts', 'src/bytes.ts'].includes(to) ||
        to.startsWith('src/area/') ||
        (/^src\/(stores|seal)\//.test(to) && typeOnly),
      inRoom('area'),
    ))

  it('ahead knows the interface of an area and what may be asked of Orthanc, and only it parses DICOM', () => {
    all(
      ({ to, typeOnly }) =>
        ['src/fault.ts', 'src/bytes.ts', 'src/orthanc.ts', 'dicom-parser', 'node:crypto', 'node:zlib'].includes(to) ||
        to.startsWith('src/ahead/') ||
        (to.startsWith('src/area/') && typeOnly),
      inRoom('ahead'),
    )
    all(
      ({ from }) => from === 'src/ahead/head.ts',
      ({ to }) => to === 'dicom-parser',
    )
  })

  it('moves know the area and what may be asked of Orthanc, and no store', () =>
    all(
      ({ to }) => ['src/fault.ts', 'src/bytes.ts', 'src/orthanc.ts'].includes(to) || /^src\/(moves|area)\//.test(to),
      inRoom('moves'),
    ))

  it('prefetch knows the area, what moves have for every job, and no store', () =>
    all(
      ({ to }) =>
        ['src/fault.ts', 'src/bytes.ts', 'src/orthanc.ts'].includes(to) || /^src\/(prefetch|moves|area)\//.test(to),
      inRoom('prefetch'),
    ))

  it('seal knows bytes and cryptography only', () =>
    all(
      ({ to }) => ['src/fault.ts', 'src/bytes.ts', 'node:crypto'].includes(to) || to.startsWith('src/seal/'),
      inRoom('seal'),
    ))

  it('rotate knows bulk work, interfaces of stores and the names of objects, and no configuration', () =>
    all(
      ({ to, typeOnly }) =>
        ['src/fault.ts', 'src/bytes.ts'].includes(to) ||
        /^src\/(rotate|seal|bulk)\/|^src\/area\/naming|^node:(crypto|events|timers)/.test(to) ||
        (/^src\/(stores|area)\//.test(to) && typeOnly),
      inRoom('rotate'),
    ))

  it('orthanc-index knows what may be asked of Orthanc, the network, and what the options of PostgreSQL are', () => {
    all(
      ({ to, typeOnly }) =>
        !isOurs(to) ||
        /^src\/(orthanc-index\/|fault\.ts|bytes\.ts|stores\/(network\/|wrappers\/retry\.ts|unless-aborted\.ts))/.test(
          to,
        ) ||
        (typeOnly && ['src/orthanc.ts', 'src/area/area.ts', 'src/config/postgresql.ts'].includes(to)),
      inRoom('orthanc-index'),
    )
    all(
      ({ from, to }) =>
        from === 'src/orthanc-index/postgresql-session.ts' || (from === 'src/queue/database.ts' && to === 'pg'),
      ({ to }) => ['pg', 'pg-connection-string', 'pgpass'].includes(to),
    )
  })

  it('queue knows bulk work and the way to PostgreSQL, and no store; only it knows pg-boss, and loads it late', () => {
    all(
      ({ to }) =>
        !isOurs(to) ||
        /^src\/(queue\/|bulk\/|fault\.ts|stores\/wrappers\/retry\.ts|orthanc-index\/postgresql-\w+\.ts)/.test(to),
      inRoom('queue'),
    )
    all(
      ({ from }) => from === 'src/queue/jobs.ts',
      ({ to }) => to === 'pg-boss',
    )
    all(
      ({ from }) => from === 'src/cli/bulk-queue.ts',
      ({ to }) => to === 'src/queue/many.ts',
    )
    const late = /import\('pg-boss'\)/.test(readFileSync(join(root, 'src/queue/jobs.ts'), 'utf8'))
    assert.ok(late && imports.every(({ to, typeOnly, from }) => to !== 'pg-boss' || typeOnly || from.includes('jobs')))
  })

  it('verify knows interfaces of stores and areas, and the names of objects, and no configuration', () => {
    all(
      ({ to, typeOnly }) =>
        ['src/fault.ts', 'src/bytes.ts'].includes(to) ||
        /^src\/(verify|bulk|seal)\/|^src\/area\/naming|^node:(events|fs|path|timers|sqlite|zlib)/.test(to) ||
        (/^src\/(stores|area|orthanc-index)\//.test(to) && typeOnly),
      inRoom('verify'),
    )
    // Node.js prints a warning when it is loaded: see src/bulk/sqlite.ts.
    all(
      ({ typeOnly }) => typeOnly,
      ({ to }) => to === 'node:sqlite',
    )
  })

  it('the job of verify knows what is verified, and Orthanc as a job sees it', () =>
    all(
      ({ to }) =>
        ['src/fault.ts', 'src/orthanc.ts', 'node:os'].includes(to) ||
        /^src\/(verify-job|verify|orthanc-index)\/|^src\/stores\/(unless-aborted|wrappers\/retry)\.ts$/.test(to),
      inRoom('verify-job'),
    ))

  it('repair knows what verify has found, and interfaces of stores', () =>
    all(
      ({ to, typeOnly }) =>
        ['src/fault.ts', 'src/bytes.ts'].includes(to) ||
        /^src\/(repair|verify|bulk|seal)\/|^src\/area\/(naming|move)\.ts/.test(to) ||
        (/^src\/(stores|area|orthanc-index)\//.test(to) && typeOnly),
      inRoom('repair'),
    ))

  it('copy knows interfaces of stores, the names of objects, and no configuration', () =>
    all(
      ({ to, typeOnly }) =>
        ['src/fault.ts', 'src/bytes.ts'].includes(to) ||
        /^src\/(copy|bulk|seal)\/|^src\/area\/naming/.test(to) ||
        (/^src\/(stores|area|verify)\//.test(to) && typeOnly),
      inRoom('copy'),
    ))

  it('bulk knows the names of objects and interfaces of stores, and nothing of what is done with them', () =>
    all(
      ({ to, typeOnly }) =>
        to === 'src/fault.ts' ||
        /^src\/bulk\/|^src\/area\/naming|^p-limit$|^node:(events|fs|path|timers|sqlite)/.test(to) ||
        (to.startsWith('src/stores/') && typeOnly),
      inRoom('bulk'),
    ))

  it('usage knows interfaces of stores, the names of objects and what a sealed one begins with', () =>
    all(
      ({ to, typeOnly }) =>
        ['src/fault.ts', 'src/bytes.ts', 'src/area/naming.ts'].includes(to) ||
        /^src\/(usage|bulk|seal)\//.test(to) ||
        (/^src\/(stores|area)\//.test(to) && typeOnly),
      inRoom('usage'),
    ))

  it('import knows interfaces of stores and areas, the names of objects, sealing and bulk work', () =>
    all(
      ({ to, typeOnly }) =>
        ['src/fault.ts', 'src/bytes.ts', 'src/area/naming.ts'].includes(to) ||
        /^src\/(import|bulk|seal)\/|^node:(stream|zlib)$/.test(to) ||
        (/^src\/(stores|area)\/|^src\/orthanc\.ts$/.test(to) && typeOnly),
      inRoom('import'),
    ))

  it('deletions know stores and disks, and no configuration', () =>
    all(
      ({ to }) => to === 'src/fault.ts' || /^src\/(deletions|stores)\/|^node:(crypto|fs|path|timers|zlib)/.test(to),
      inRoom('deletions'),
    ))

  it('stores know neither configuration nor anything above them', () =>
    all(
      ({ to }) => !isOurs(to) || to.startsWith('src/stores/') || ['src/fault.ts', 'src/bytes.ts'].includes(to),
      inRoom('stores'),
    ))

  it('a provider and a directory know themselves, HTTP and what all stores share; only compose knows them', () => {
    for (const room of ['s3', 'azure', 'gcs', 'directory']) {
      const own = (path: string) => path.startsWith(`src/stores/${room}/`)
      all(
        ({ from, to }) =>
          own(from) ||
          from === 'src/compose.ts' ||
          // The journal of removals is on a disk like any other, and has a lease of its own.
          (from.startsWith('src/deletions/') && /\/directory\/(disk|faults|mounts|sync|lease-\w+)\.ts$/.test(to)) ||
          (inCache(from) && ofDisks.test(to)),
        ({ to }) => own(to),
      )
    }
  })

  it('only compose knows the cache', () => {
    all(
      ({ from }) => inCache(from) || from === 'src/compose.ts',
      ({ to }) => inCache(to),
    )
  })

  it('the network knows faults only, and the wrappers what all stores share', () => {
    all(
      ({ to }) => !isOurs(to) || to === 'src/fault.ts' || to.startsWith('src/stores/network/'),
      inRoom('stores/network'),
    )
    all(
      ({ to }) => !isOurs(to) || /^src\/(fault|bytes|stores\/(wrappers\/)?[\w-]+)\.ts$/.test(to),
      inRoom('stores/wrappers'),
    )
  })

  it('credential packages have one owner each', () => {
    all(
      ({ from }) => from === 'src/stores/azure/auth.ts',
      ({ to }) => to.startsWith('@azure/'),
    )
    all(
      ({ from }) => from === 'src/stores/s3/auth.ts',
      ({ to }) => to.startsWith('@aws-sdk/'),
    )
    all(
      ({ from }) => from === 'src/stores/gcs/auth.ts',
      ({ to }) => to === 'google-auth-library',
    )
  })

  it('credential packages are loaded only when they are needed', () => {
    const text = (file: string) => readFileSync(join(root, file), 'utf8')
    for (const { from, to, typeOnly } of imports)
      if (/^(@azure|@aws-sdk|google-auth-library)/.test(to) && !typeOnly)
        assert.match(text(from), new RegExp(`import\\('${to}'\\)`), `${from} imports ${to}`)
  })

  it('wire knows the area as a type', () =>
    all(
      ({ to, typeOnly }) => !isOurs(to) || typeOnly || /^src\/(wire\/|fault|bytes|log|orthanc)/.test(to),
      inRoom('wire'),
    ))

  it('routes know the wire, the area, the moves and Orthanc', () =>
    all(
      ({ to }) =>
        !isOurs(to) || /^src\/(routes|wire|area|moves|prefetch|verify-job)\/|^src\/(fault|bytes|orthanc)/.test(to),
      inRoom('routes'),
    ))

  it('the script for Orthanc Explorer knows nothing of the engine, and only services has it', () => {
    all(({ to }) => to === 'node:fs', inRoom('explorer'))
    all(
      ({ from }) => from === 'src/services.ts',
      ({ to }) => to.startsWith('src/explorer/'),
    )
  })

  it('config knows faults, and of keys whether a text is one', () =>
    all(
      ({ to }) => !isOurs(to) || to.startsWith('src/config/') || /^src\/(fault|seal\/keyring)\.ts$/.test(to),
      inRoom('config'),
    ))

  it('no file is imported by what it imports itself, types included', () => {
    const next = new Map<string, string[]>()
    for (const { from, to } of imports) if (isOurs(to)) next.set(from, [...(next.get(from) ?? []), to])
    const done = new Set<string>()
    const circles: string[] = []
    const walk = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' -> '))
      if (path.includes(file) || done.has(file)) return
      for (const to of next.get(file) ?? []) walk(to, [...path, file])
      done.add(file)
    }
    for (const file of next.keys()) walk(file, [])
    assert.deepEqual(circles, [])
  })

  it('nobody imports the command line', () => all(inRoom('cli'), ({ to }) => to.startsWith('src/cli/')))

  it('zod stays in config, undici and XML in the stores, p-limit in the stores and in bulk work', () => {
    const rooms: Readonly<Record<string, RegExp>> = { zod: /^src\/config\//, 'p-limit': /^src\/(stores|bulk)\// }
    all(
      ({ from, to }) => (rooms[to] ?? /^src\/stores\//).test(from),
      ({ to }) => ['zod', 'undici', 'htmlparser2', 'fast-xml-builder', 'p-retry', 'p-limit'].includes(to),
    )
  })
})

describe('sources', () => {
  const sources = ['src', 'plugin', 'test', 'harness', 'bench', 'scripts'].flatMap(folder =>
    files(folder, /\.(ts|mjs|js|cpp|h)$/),
  )
  it('have at most 400 lines each', () => {
    const long = sources.filter(file => readFileSync(join(root, file), 'utf8').split('\n').length > 401)
    assert.deepEqual(long, [])
  })

  it('of src have at most 300 lines each, and half of them fewer than 100', () => {
    const counts = sources
      .filter(file => /^src\/.*\.ts$/.test(file))
      .map(file => readFileSync(join(root, file), 'utf8').split('\n').length - 1)
      .sort((a, b) => a - b)
    assert.ok((counts.at(-1) ?? 0) <= 300)
    assert.ok((counts[counts.length >> 1] ?? 0) < 100)
  })

  it('have comments of at most 120 columns', () => {
    const wide = sources.flatMap(file =>
      readFileSync(join(root, file), 'utf8')
        .split('\n')
        .filter(line => line.length > 120 && /^\s*(\/\/|\/?\*)/.test(line))
        .map(line => `${file}: ${line}`),
    )
    assert.deepEqual(wide, [])
  })
})
