/**
 * What the documentation says and what the code knows are the same: options, codes, routes, metrics; and its links lead
 * somewhere.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, it } from 'node:test'
import * as azure from '../src/config/azure.ts'
import * as cache from '../src/config/cache.ts'
import { common } from '../src/config/common.ts'
import * as config from '../src/config/config.ts'
import { connection } from '../src/config/connection.ts'
import * as directory from '../src/config/directory.ts'
import * as encryption from '../src/config/encryption.ts'
import * as gcs from '../src/config/gcs.ts'
import { aliases } from '../src/config/reading.ts'
import * as s3 from '../src/config/s3.ts'
import { moveStorageRoute } from '../src/routes/move-storage.ts'
import { prefetchRoute } from '../src/routes/prefetch.ts'
import { readyRoute } from '../src/routes/ready.ts'
import { metricsOf, type Status, statusRoute } from '../src/routes/status.ts'
import { verifyRoute } from '../src/routes/verify.ts'
import { whereRoute } from '../src/routes/where.ts'
import { httpReplies } from '../src/wire/http-replies.ts'

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const pages = ['.', 'docs', '.github'].flatMap(folder =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder))
        .filter(name => name.endsWith('.md'))
        .map(name => join(folder, name))
    : [],
)

/** The part of a page below one heading, as far as the next of the same or a higher level. */
function below(page: string, heading: string): string {
  const text = read(page)
  const start = text.indexOf(`\n${heading}\n`)
  assert.notEqual(start, -1, `${page} has no heading "${heading}"`)
  const level = heading.indexOf(' ')
  const rest = text.slice(start + heading.length + 2)
  const end = rest.search(new RegExp(`^#{1,${level}} `, 'm'))
  return end === -1 ? rest : rest.slice(0, end)
}

/** The cells of the first table below a heading, without its head. */
function rows(text: string): string[][] {
  const lines = text.split('\n')
  const start = lines.findIndex(line => /^\|[ :|-]+\|$/.test(line))
  const found: string[][] = []
  for (const line of start === -1 ? [] : lines.slice(start + 1)) {
    if (!line.startsWith('|')) break
    found.push(
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map(cell => cell.trim()),
    )
  }
  return found
}

const namesIn = (text: string) => [...text.matchAll(/`([A-Z]\w+)`/g)].map(([, name]) => name as string)
const optionsBelow = (page: string, heading: string) =>
  rows(below(page, heading)).flatMap(([cell = '']) => namesIn(cell))
const sorted = (names: Iterable<string>) => [...new Set(names)].sort()
const keys = ({ shape }: { shape: object }) => Object.keys(shape)

/** `GET /a/{b,c}/<id>` as the requests it stands for. */
function requestsIn(text: string): { method: string; path: string; source: string }[] {
  const found = text.matchAll(/\b(GET|POST|PUT|DELETE) (\/[\w/{},<>-]+)/g)
  return [...found].flatMap(([source, method = '', path = '']) => {
    const [, head = path, choices = '', tail = ''] = /^(.*)\{(\w+(?:,\w+)+)\}(.*)$/.exec(path) ?? []
    const paths = choices ? choices.split(',').map(choice => head + choice + tail) : [path]
    return paths.map(one => ({ method, path: one.replace(/<\w+>|\{\w+\}/g, ORTHANC_ID), source }))
  })
}
const ORTHANC_ID = '6b9e19d9-62094390-5f9ddb01-4a191ae7-9766b715'

/** As GitHub makes an anchor of a heading. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, title = ''] of withoutCode(read(page)).matchAll(/^#{1,6} (.+)$/gm)) {
    const words = title.replace(/\[([^\]]+)\]\([^)]*\)/g, '$1').toLowerCase()
    const anchor = words.replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-')
    let unique = anchor
    for (let n = 1; anchors.has(unique); n++) unique = `${anchor}-${n}`
    anchors.add(unique)
  }
  return anchors
}
const withoutCode = (text: string) => text.replace(/^( *)```[\s\S]*?^\1```$/gm, '')

describe('options in the documentation', () => {
  const page = 'docs/configuration.md'
  const shared = optionsBelow(page, '## Options of all')
  // Page, heading, options that the code knows there, options that another part of the page has. Three of Orthanc's own
  // are in no schema.
  const sections: readonly [string, string, readonly string[], readonly string[]][] = [
    [page, '## `AwsS3Storage`', keys(s3.s3Schema), shared],
    [page, '## `AzureBlobStorage`', keys(azure.azureSchema), shared],
    [page, '### `BlobStorage`', keys(azure.oldAzureSchema), shared],
    [page, '## `GoogleCloudStorage`', keys(gcs.gcsSchema), shared],
    [page, '## `DirectoryStorage`', keys(directory.directorySchema), shared],
    [page, '## Options of all', Object.keys(common), []],
    [page, '## `CloudStorage`', keys(config.cloudStorage), []],
    [page, "## Orthanc's own options", [...keys(config.orthanc), 'HttpsVerifyPeers', 'Plugins', 'AdvancedStorage'], []],
    ['docs/encryption.md', '## Options', keys(encryption.encryptionSchema), []],
    ['docs/cache.md', '## Options', keys(cache.cacheSchema), []],
  ]
  for (const [file, heading, known, others] of sections)
    it(`${file}, ${heading.replace(/^#+ /, '')}: each is there, and none that there is not`, () =>
      assert.deepEqual(sorted([...optionsBelow(file, heading), ...others]), sorted(known)))

  it('names the old names of options', () => {
    for (const [old, option] of Object.entries(aliases)) {
      const row = rows(below(page, '## `AwsS3Storage`')).find(([name]) => name === `\`${option}\``)
      assert.ok(row?.join().includes(`\`${old}\``), old)
    }
  })

  it('every option that is written with its section is one of that section', () => {
    const known: Record<string, readonly string[]> = {
      AwsS3Storage: [...keys(s3.s3Schema), ...Object.keys(aliases)],
      AzureBlobStorage: keys(azure.azureSchema),
      GoogleCloudStorage: keys(gcs.gcsSchema),
      DirectoryStorage: keys(directory.directorySchema),
      CloudStorage: keys(config.cloudStorage),
      Cache: keys(cache.cacheSchema),
      StorageEncryption: keys(encryption.encryptionSchema),
    }
    const wrong = pages.flatMap(file =>
      [...read(file).matchAll(/\b([A-Z]\w+)\.([A-Z]\w+)\b/g)]
        .filter(([, section = '', option = '']) => known[section] && !known[section].includes(option))
        .map(([text]) => `${file}: ${text}`),
    )
    assert.deepEqual(wrong, [])
  })

  it('the connection options that "as above" stands for are those of every provider on HTTP', () => {
    for (const schema of [s3.s3Schema, azure.azureSchema, azure.oldAzureSchema, gcs.gcsSchema])
      assert.deepEqual(
        Object.keys(connection).filter(name => !keys(schema).includes(name)),
        [],
      )
  })
})

describe('errors in the documentation', () => {
  it('has each code with its HTTP status, and none that there is not', () => {
    const documented = rows(read('docs/errors.md')).map(([code = '', , http = '']) => [code.replaceAll('`', ''), http])
    const known = Object.entries(httpReplies).map(([code, { http }]) => [code, String(http)])
    assert.deepEqual(documented.sort(), known.sort())
  })
})

describe('messages in the documentation', () => {
  /** Tests have the providers' own words. */
  const sources = ['src', 'plugin', 'test']
    .flatMap(folder =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(name => join(folder, name)),
    )
    .filter(name => /\.(ts|cpp|h)$/.test(name) && !name.endsWith('docs.test.ts'))
    .map(read)

  it('docs/tuning.md quotes the line at start as it is', () => {
    const s3 = '{"AwsS3Storage": {"BucketName": "b", "Region": "r"}}'
    const [line = ''] = config.parseConfig(s3, '/etc/orthanc', '1.13.0').warnings
    assert.ok(read('docs/tuning.md').includes(`\n${line}\n`), line)
  })

  it('docs/operations.md explains lines that there are', () => {
    const table = rows(below('docs/operations.md', '## When Orthanc does not start'))
    const quoted = table.flatMap(([cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text))
    const pieces = quoted.flatMap(text => text.split(/ ?(?:\.\.\.|…) ?/))
    assert.ok(pieces.length > 10)
    const missing = pieces.filter(piece => !sources.some(text => text.includes(piece)))
    assert.deepEqual(missing, [])
  })
})

describe('REST routes and metrics in the documentation', () => {
  const unused = undefined as never
  const routes = [
    moveStorageRoute(unused),
    statusRoute(unused, unused),
    readyRoute(undefined),
    whereRoute({}),
    prefetchRoute(unused, unused),
    verifyRoute(unused),
  ]
  const matches = ({ pattern, methods }: (typeof routes)[number], method: string, path: string) =>
    Object.hasOwn(methods, method) && new RegExp(`^${pattern}$`).test(path)

  it('one of the pages has each route with each of its methods', () => {
    const documented = ['docs/hybrid.md', 'docs/cache.md', 'docs/verify.md'].flatMap(page => requestsIn(read(page)))
    const levels = ['patients', 'studies', 'series', 'instances']
    for (const route of routes)
      for (const method of Object.keys(route.methods))
        for (const level of route.pattern.includes('studies') ? levels : ['']) {
          const found = documented.some(one => matches(route, method, one.path) && one.path.startsWith(`/${level}`))
          assert.ok(found, `${method} ${route.pattern} ${level}`)
        }
  })

  it('no page has a route of ours that there is not', () => {
    const wrong = pages.flatMap(file =>
      requestsIn(read(file))
        .filter(({ path }) => /cloud-storage|move-storage/.test(path))
        .filter(({ method, path }) => !routes.some(route => matches(route, method, path)))
        .map(({ source }) => `${file}: ${source}`),
    )
    assert.deepEqual(wrong, [])
  })

  it('has each metric, and none that there is not', () => {
    const documented = pages.flatMap(file =>
      [...read(file).matchAll(/orthanc_cloud_storage_[a-z_]+[a-z]/g)].map(([name]) => name),
    )
    assert.deepEqual(sorted(documented), sorted(metricsOf({} as Status).keys()))
  })
})

describe('the pages themselves', () => {
  for (const file of pages) {
    const text = read(file)

    it(`${file}: each block of JSON parses, and a configuration in it is one`, () => {
      for (const [, , json = ''] of text.matchAll(/^( *)```json\n([\s\S]*?)^\1```$/gm)) {
        const value = JSON.parse(json)
        if (!Object.keys(value).some(key => /^(AwsS3|AzureBlob|GoogleCloud|Directory)Storage$/.test(key))) continue
        // README.md has the sections alone, as a first look at them.
        const orthanc = file === 'README.md' ? undefined : '1.13.0'
        const { warnings } = config.parseConfig(json, '/etc/orthanc', orthanc)
        assert.deepEqual(warnings, [], json)
      }
    })

    it(`${file}: each relative link leads to a file, and to a heading of it`, () => {
      const links = [...withoutCode(text).matchAll(/\]\(([^()\s]+)\)/g)].map(([, link]) => link as string)
      for (const link of links.filter(one => !/^[a-z]+:/.test(one))) {
        const [path = '', anchor] = link.split('#')
        const target = path === '' ? file : relative(root, join(root, dirname(file), path))
        assert.ok(existsSync(join(root, target)), `${link}: there is no such file`)
        if (anchor !== undefined) assert.ok(anchorsOf(target).has(anchor), `${link}: there is no such heading`)
      }
    })
  }

  it('the files that ARCHITECTURE.md and docs/decisions.md name are there', () => {
    const folders = ['', 'src', 'src/stores', 'test', 'test/live', 'plugin', 'docs']
    const missing = ['ARCHITECTURE.md', 'docs/decisions.md'].flatMap(file =>
      [...withoutCode(read(file)).matchAll(/`([\w./-]+\.(?:ts|mjs|js|cpp|h|txt))`/g)]
        .map(([, path]) => path as string)
        .filter(path => !['engine.mjs', 'cli.mjs', 'THIRD-PARTY-NOTICES.txt'].includes(path))
        .filter(path => !folders.some(folder => existsSync(join(root, folder, path))))
        .map(path => `${file}: ${path}`),
    )
    assert.deepEqual(missing, [])
  })

  it('the rooms of ARCHITECTURE.md are all of src', () => {
    const named = rows(below('ARCHITECTURE.md', '## The rooms'))
      .map(([cell]) => cell)
      .join()
    const entries = readdirSync(join(root, 'src'), { withFileTypes: true })
    const missing = entries
      .map(entry => `\`src/${entry.name}${entry.isDirectory() ? '/' : ''}\``)
      .filter(name => !named.includes(name))
    assert.deepEqual(missing, [])
  })
})
