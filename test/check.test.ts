/** The check of a store, against servers that are not quite as they should be. Real ones: test/live. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { azureStore } from '../src/stores/azure/azure.ts'
import { gcsStore } from '../src/stores/gcs/gcs.ts'
import { s3Store } from '../src/stores/s3/s3.ts'
import type { CheckOptions, Store } from '../src/stores/store.ts'
import { s3Options } from './support/s3-options.ts'
import { never } from './support/store.suite.ts'
import { listen, undo } from './support/undo.ts'

interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** Whether the body has the MD5 that it is said to have. */
  readonly right: boolean
}
/** undefined = as a good server does. */
type Script = (asked: Asked, response: ServerResponse) => unknown

interface Opened {
  readonly store: Store
  /** `GET /b/probe`, in the order of arrival. */
  readonly lines: string[]
  readonly asked: Asked[]
  /** What was written and not removed. */
  readonly objects: Map<string, string>
}

const limits = { connectTimeoutMs: 5000, requestTimeoutMs: 20_000, maxConnections: 4, maxRetries: 0 }
const environment = { caFile: undefined, proxy: undefined, probeKey: 'probe' }
const marks = { 'x-amz-request-id': 'R', 'x-ms-request-id': 'R', 'x-guploader-uploadid': 'R' }

/** Keeps objects as S3 and Azure do, and answers as `script` says where that answers at all. */
async function serve(script: Script, open: (endpoint: string) => Store, words: Words): Promise<Opened> {
  const [lines, asked, objects] = [[] as string[], [] as Asked[], new Map<string, string>()]
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const url = new URL(request.url ?? '', 'http://x')
    const md5 = createHash('md5').update(body).digest('base64')
    const one: Asked = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body,
      right: request.headers['content-md5'] === md5,
    }
    asked.push(one)
    lines.push(`${one.method} ${one.path}`)
    script(one, response)
    if (response.writableEnded) return
    const good = { ...marks, etag: '"e"' }
    if (one.method === 'PUT') {
      if (!one.right) return words(response, 400, 'BadDigest')
      objects.set(one.path, body)
      return response.writeHead(201, good).end()
    }
    const object = objects.get(one.path)
    if (one.method === 'DELETE' && objects.delete(one.path)) return response.writeHead(204, marks).end()
    return object === undefined ? words(response, 404, 'NoSuchKey') : response.writeHead(200, good).end(object)
  })
  const store = open(`http://127.0.0.1:${await listen(server)}`)
  undo.push(() => store.close())
  return { store, lines, asked, objects }
}

type Words = (response: ServerResponse, status: number, code: string, message?: string) => void
const azureWords: Readonly<Record<string, string>> = {
  NoSuchKey: 'BlobNotFound',
  BadDigest: 'Md5Mismatch',
  AccessDenied: 'AuthorizationPermissionMismatch',
  NoSuchBucket: 'ContainerNotFound',
}
const s3Says: Words = (response, status, code, message = 'words') =>
  void response
    .writeHead(status, { ...marks, 'content-type': 'application/xml' })
    .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`)
const azureSays: Words = (response, status, code, message) => {
  const name = azureWords[code] ?? code
  response.setHeader('x-ms-error-code', name)
  s3Says(response, status, name, message)
}

const tags = { a: 'b' }
const s3 = (script: Script) =>
  serve(
    script,
    endpoint =>
      s3Store(
        {
          ...s3Options,
          bucket: 'b',
          region: 'r',
          credentials: { accessKeyId: 'A', secretAccessKey: 'S' },
          endpoint,
          storageClass: 'STANDARD_IA',
          tags,
          ...limits,
        },
        environment,
        () => {},
      ),
    s3Says,
  )
const azure = (script: Script, createContainer = false) =>
  serve(
    script,
    endpoint =>
      azureStore(
        {
          account: 'acct',
          endpoint,
          container: 'b',
          credentials: { kind: 'key', account: 'acct', key: 'a2V5' },
          createContainer,
          accessTier: 'Cool',
          ...limits,
        },
        environment,
        { info: () => {}, warn: () => {} },
      ),
    azureSays,
  )

async function check({ store }: Opened, options: CheckOptions = {}): Promise<string[]> {
  const warnings: string[] = []
  await store.check(never, { ...options, warn: line => warnings.push(line) })
  return warnings
}
const page = (response: ServerResponse) =>
  response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Please accept our terms</html>')

/** `more`: what S3 tries beside with a wrong CRC-32, once. */
for (const [name, open, says, more] of [
  ['S3', s3, s3Says, ['PUT /b/probe']],
  ['Azure', azure, azureSays, []],
] as const)
  describe(`the check of ${name}`, () => {
    it('writes nothing where wrong checksums are refused, and leaves nothing', async () => {
      const opened = await open(() => {})
      assert.deepEqual(await check(opened), [])
      const lines = opened.lines.filter(line => line !== 'GET /b') // comes at any time: whether there are versions
      assert.deepEqual(lines, ['GET /b/probe', 'PUT /b/probe', ...more, 'DELETE /b/probe'])
      assert.equal(opened.objects.size, 0)
    })

    it('of a status is one read', async () => {
      const opened = await open(() => {})
      await check(opened, { purpose: 'status' })
      assert.deepEqual(opened.lines, ['GET /b/probe'])
    })

    it('asks for no permission to write where Orthanc is ReadOnly', async () => {
      const opened = await open(({ method }, response) => method !== 'GET' && says(response, 403, 'AccessDenied'))
      assert.deepEqual(await check(opened, { writes: false }), [])
      assert.deepEqual(opened.lines, ['GET /b/probe'])
      await assert.rejects(check(opened), { code: 'Denied' })
    })

    it('warns of a missing permission to remove', async () => {
      const opened = await open(({ method }, response) => method === 'DELETE' && says(response, 403, 'AccessDenied'))
      const [line, ...more] = await check(opened)
      assert.match(
        line ?? '',
        /^there is no permission to remove, so .* will stay in (s3|azure).*(s3:DeleteObject|Most probably)/,
      )
      assert.deepEqual(more, [])
    })

    it('is not stopped by a server that answers a wrong checksum as if it were broken', async () => {
      const opened = await open(
        ({ method, right }, response) => method === 'PUT' && !right && says(response, 500, 'InternalError'),
      )
      assert.match(
        (await check(opened)).join('\n'),
        /accepts writes, .*Content-MD5: .*InternalError.*HTTP 500.*not known$/,
      )
      assert.equal(opened.objects.size, 0)
    })

    it('is stopped by a server that takes no right write either', async () => {
      const opened = await open(({ method }, response) => method === 'PUT' && says(response, 500, 'InternalError'))
      await assert.rejects(check(opened), { code: 'Unavailable', retryable: true })
    })

    it('warns of a store that is full: only an Orthanc that runs can make room there', async () => {
      const opened = await open(({ method }, response) => method === 'PUT' && says(response, 507, 'QuotaExceeded'))
      assert.match((await check(opened)).join('\n'), /takes no more files until there is room: .*QuotaExceeded/)
    })

    it('removes what a server wrote in spite of its wrong checksum, says so, and does not do it again', async () => {
      const opened = await open(({ method, right, path, body }, response) => {
        if (method !== 'PUT' || right) return
        opened.objects.set(path, body)
        response.writeHead(200, { ...marks, etag: '"e"' }).end()
      })
      assert.match((await check(opened)).join('\n'), /does not verify Content-MD5/)
      assert.equal(opened.objects.size, 0)
      assert.deepEqual(await check(opened), [])
      assert.equal(opened.lines.filter(line => line.startsWith('PUT')).length, 1 + more.length)
    })

    it('says what stays behind where it may not be removed, and removes at the next start what stayed', async () => {
      let mayRemove = false
      const opened = await open(({ method, right }, response) => {
        if (method === 'PUT' && !right) says(response, 500, 'InternalError')
        if (method === 'DELETE' && !mayRemove) says(response, 403, 'AccessDenied')
      })
      assert.match((await check(opened)).join('\n'), /the check wrote the object 'probe' to .*not remove it/)
      assert.equal(opened.objects.size, 1)
      await check(opened, { purpose: 'status' })
      mayRemove = true
      await check(opened)
      assert.equal(opened.objects.size, 0)
    })

    for (const method of ['GET', 'PUT'])
      it(`takes no stranger's 200 to a ${method} for the store`, async () => {
        const opened = await open((asked, response) => asked.method === method && page(response))
        await assert.rejects(check(opened), { code: 'Unavailable' })
      })

    it('of a missing place says that asking again can help', async () => {
      const opened = await open((_, response) => says(response, 404, 'NoSuchBucket'))
      await assert.rejects(check(opened), { code: 'BadConfig', retryable: true, remedy: /'b'/ })
    })
  })

describe('the check of S3', () => {
  it('writes as real writes are written: the body is not signed, tags and class are there', async () => {
    const opened = await s3(() => {})
    await check(opened)
    const { headers, body } = opened.asked.find(({ method }) => method === 'PUT') as Asked
    assert.equal(headers['x-amz-content-sha256'], 'UNSIGNED-PAYLOAD')
    assert.deepEqual([headers['x-amz-tagging'], headers['x-amz-storage-class']], ['a=b', 'STANDARD_IA'])
    assert.deepEqual([headers['content-length'], headers['content-type']], [String(body.length), undefined])
  })

  it('finds out that a policy forbids what real writes do', async () => {
    const opened = await s3(
      ({ headers }, response) =>
        headers['x-amz-content-sha256'] === 'UNSIGNED-PAYLOAD' &&
        s3Says(response, 403, 'AccessDenied', 'explicit deny'),
    )
    await assert.rejects(check(opened), {
      code: 'Denied',
      message: /explicit deny/,
      remedy: /policy.*UNSIGNED-PAYLOAD/,
    })
  })

  it('asks for the permission to remove in a way that leaves no mark in a bucket with versions', async () => {
    const opened = await s3(() => {})
    await check(opened)
    assert.equal(opened.asked.find(({ method }) => method === 'DELETE')?.headers['if-match'], '*')
  })

  it('does not take a key of KMS that may not be used for an absent object', async () => {
    const words = 'not authorized to perform: kms:Decrypt on resource: arn:aws:kms:x'
    const opened = await s3((_, response) => s3Says(response, 403, 'AccessDenied', words))
    await assert.rejects(check(opened, { purpose: 'status' }), { code: 'Denied', message: /kms:Decrypt/ })
  })
})

describe('the container of Azure', () => {
  const missing = () => {
    let there = false
    const script: Script = ({ method, path, query }, response) => {
      if (there) return
      if (method !== 'PUT' || path !== '/b' || query.get('restype') !== 'container')
        return azureSays(response, 404, 'NoSuchBucket')
      there = true
      response.writeHead(201, { ...marks, etag: '"e"' }).end()
    }
    return script
  }

  it('is made when Orthanc starts, with a warning', async () => {
    const opened = await azure(missing(), true)
    assert.match((await check(opened)).join('\n'), /^the container 'b' was missing and was created: make sure/)
  })

  it('is not made by anything else', async () => {
    const opened = await azure(missing(), true)
    assert.match((await check(opened, { purpose: 'look' })).join('\n'), /Orthanc creates it when it starts$/)
    for (const options of [{ purpose: 'status' }, { writes: false }] as const)
      await assert.rejects(check(opened, options), { code: 'BadConfig' })
    const source = { size: 1, open: async function* () {} }
    await assert.rejects(opened.store.put('k', { ...source, size: 0 }, never), { code: 'BadConfig' })
    assert.ok(!opened.lines.includes('PUT /b'))
  })

  it('that may not be made by us may be made by somebody else: asking again can help', async () => {
    const opened = await azure(
      ({ method, path }, response) =>
        method === 'PUT' && path === '/b'
          ? azureSays(response, 403, 'AccessDenied')
          : azureSays(response, 404, 'NoSuchBucket'),
      true,
    )
    await assert.rejects(check(opened), { retryable: true, message: /ContainerNotFound.*may not be created/ })
  })

  it('that appears meanwhile is fine', async () => {
    const script = missing()
    const opened = await azure((asked, response) => {
      if (asked.path === '/b') {
        script(asked, { writeHead: () => ({ end() {} }) } as unknown as ServerResponse)
        azureSays(response, 409, 'ContainerAlreadyExists')
      } else script(asked, response)
    }, true)
    assert.deepEqual(await check(opened), [])
  })
})

describe('the check of Google', () => {
  const google = (script: Script) =>
    serve(
      script,
      endpoint =>
        gcsStore(
          { bucket: 'b', serviceAccountFile: undefined, endpoint, storageClass: undefined, ...limits },
          environment,
          () => {},
        ),
      s3Says,
    )
  const json = (response: ServerResponse, body: object, status = 200) =>
    response.writeHead(status, { ...marks, 'content-type': 'application/json' }).end(JSON.stringify(body))
  const grants =
    (...verbs: string[]): Script =>
    ({ path }, response) =>
      json(
        response,
        path.includes('testPermissions') ? { permissions: verbs.map(verb => `storage.objects.${verb}`) } : {},
      )

  it('warns of a missing permission to remove', async () => {
    const lines = await check(await google(grants('get', 'create')))
    assert.match(
      lines.join('\n'),
      /^there is no permission to remove, .* gcs:b: permission storage\.objects\.delete is missing/,
    )
  })

  it('asks for no permission to write where Orthanc is ReadOnly', async () => {
    const opened = await google(grants('get'))
    assert.deepEqual(await check(opened, { writes: false }), [])
    await assert.rejects(check(opened), { code: 'Denied', message: 'permission storage.objects.create is missing' })
  })

  it('of a status is one question', async () => {
    const opened = await google(grants('get'))
    await check(opened, { purpose: 'status' })
    assert.deepEqual(opened.lines, ['GET /storage/v1/b/b/iam/testPermissions'])
    await assert.rejects(check(await google(grants()), { purpose: 'status' }), { code: 'Denied' })
  })

  it('asks an emulator, which knows nothing of permissions, about the bucket, from then on at once', async () => {
    const opened = await google(({ path }, response) =>
      path.includes('testPermissions')
        ? response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found')
        : json(response, { kind: 'storage#objects' }),
    )
    await check(opened)
    opened.lines.length = 0
    await check(opened, { purpose: 'status' })
    assert.deepEqual(opened.lines, ['GET /storage/v1/b/b/o'])
  })

  it("takes no stranger's 200 for the store", async () => {
    await assert.rejects(check(await google((_, response) => page(response))), { code: 'Unavailable' })
    const behind = await google((asked, response) =>
      asked.path.includes('testPermissions') ? grants('get', 'create', 'delete')(asked, response) : page(response),
    )
    await assert.rejects(check(behind), { code: 'Unavailable' })
  })

  it('of a missing bucket says that asking again can help', async () => {
    const opened = await google((_, response) =>
      json(response, { error: { code: 404, message: 'The specified bucket does not exist.' } }, 404),
    )
    await assert.rejects(check(opened), { code: 'BadConfig', retryable: true, remedy: /'b'/ })
  })
})
