/**
 * node bench/bulk/verify.ts [OBJECTS]: `verify` of a million objects, which a stub lists, beside as many rows of
 * Orthanc's table in a real PostgreSQL; then `verify --deep` of a folder beside `sha256sum` of the same files.
 */
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Client } from 'pg'
import { indexIn, startPostgresql } from '../../harness/postgresql.ts'
import { machine } from '../machine.ts'
import { SIZE_IN_SQL, uuidInSql } from './made-up.ts'

const ROUNDS = 3
const count = Number(process.argv[2] ?? 1_000_000)
const folder = mkdtempSync(join(tmpdir(), 'bench-verify-'))
const cli = join(import.meta.dirname, '..', '..', 'dist', 'cli.mjs')

interface Run {
  readonly seconds: number
  /** The most that the process had in memory, in MB. */
  readonly memory: number
  readonly code: number | null
  readonly said: string
}

async function command(program: string, ...args: string[]): Promise<Run> {
  const start = performance.now()
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let [said, memory] = ['', 0]
  child.stdout.on('data', text => (said += text))
  const look = setInterval(() => {
    try {
      const [, kib] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
      memory = Math.max(memory, Number(kib ?? 0) / 1024)
    } catch {} // it has ended
  }, 50)
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  clearInterval(look)
  return { seconds: (performance.now() - start) / 1000, memory, code, said }
}

const verify = (config: string, ...more: string[]) =>
  command(process.execPath, cli, 'verify', '--config', config, '--scratch', folder, ...more)

async function table(client: Client, rows: string, values: string): Promise<void> {
  await client.query('CREATE TABLE GlobalProperties (property int PRIMARY KEY, value text)')
  await client.query("INSERT INTO GlobalProperties VALUES (1, '6')")
  await client.query(
    `CREATE TABLE AttachedFiles (id bigint, fileType int, uuid varchar(64) NOT NULL, compressedSize bigint,
     uncompressedSize bigint, compressionType int, uncompressedHash varchar(40), compressedHash varchar(40))`,
  )
  await client.query(`INSERT INTO AttachedFiles ${rows}`, values === '' ? [] : [values])
}

const postgresql = await startPostgresql()
const fill = async (name: string, rows: string, values = '') => {
  await postgresql.makeDatabase(name)
  const { port, user } = postgresql
  const client = new Client({ host: '127.0.0.1', port, user, database: name })
  await client.connect()
  await table(client, rows, values)
  await client.end()
  return { PostgreSQL: indexIn(postgresql, name) }
}

async function many(): Promise<void> {
  const index = await fill(
    'many',
    `SELECT i, 1, ${uuidInSql(count)}, ${SIZE_IN_SQL}, ${SIZE_IN_SQL}, 1, repeat('0', 32), repeat('0', 32)
     FROM generate_series(0, ${count - 1}) AS i ORDER BY md5(i::text)`,
  )
  const stub = spawn(process.execPath, [join(import.meta.dirname, 'listing-stub.ts'), String(count)])
  const [port] = await new Promise<[string]>(resolve =>
    createInterface({ input: stub.stdout }).once('line', line => resolve([line])),
  )
  const config = join(folder, 'many.json')
  const AwsS3Storage = {
    ...{ BucketName: 'b', Region: 'us-east-1', AccessKey: 'a', SecretKey: 's', VirtualAddressing: false },
    Endpoint: `http://127.0.0.1:${port}`,
  }
  writeFileSync(config, JSON.stringify({ ...index, AwsS3Storage }))
  for (let round = 0; round < ROUNDS; round++) {
    const { seconds, memory, code, said } = await verify(config)
    if (code !== 0) throw new Error(said)
    console.log(
      `${count} objects: ${seconds.toFixed(1)} s, ${Math.round(count / seconds)} a second, ${memory.toFixed(0)} MB`,
    )
  }
  stub.kill()
}

async function deep(): Promise<void> {
  const path = join(folder, 'objects')
  mkdirSync(path)
  const files = Array.from({ length: 4_000 }, () => randomUUID())
  const sizes = files.map((_, i) => (i % 100 === 0 ? 20_000_000 : 220_000))
  for (const [i, uuid] of files.entries()) writeFileSync(join(path, `${uuid}.dcm`), randomBytes(sizes[i] as number))
  const rows = files.map((uuid, i) => ({ uuid, size: sizes[i] }))
  const index = await fill(
    'deep',
    `SELECT 1, 1, uuid, size, size, 1, '', '' FROM jsonb_to_recordset($1::jsonb) AS x(uuid text, size bigint)`,
    JSON.stringify(rows),
  )
  // Without an MD5 of Orthanc's there would be less to do.
  for (const name of files) {
    const [md5] = spawnSync('md5sum', [join(path, `${name}.dcm`)], { encoding: 'utf8' }).stdout.split(' ')
    hashes.push(`UPDATE AttachedFiles SET compressedHash = '${md5}' WHERE uuid = '${name}'`)
  }
  const { port, user } = postgresql
  const client = new Client({ host: '127.0.0.1', port, user, database: 'deep' })
  await client.connect()
  await client.query(hashes.join(';'))
  await client.end()
  const config = join(folder, 'deep.json')
  writeFileSync(config, JSON.stringify({ ...index, DirectoryStorage: { Path: path } }))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  const speed = ({ seconds }: Run) => `${seconds.toFixed(1)} s, ${Math.round(bytes / seconds / 1e6)} MB a second`
  for (let round = 0; round < ROUNDS; round++) {
    const read = await verify(config, '--deep')
    if (read.code !== 0) throw new Error(read.said)
    const sha256sum = await command('sh', '-c', `sha256sum ${path}/*`)
    const ratio = sha256sum.seconds / read.seconds
    console.log(
      `--deep ${speed(read)}, ${read.memory.toFixed(0)} MB; sha256sum ${speed(sha256sum)}: ${ratio.toFixed(2)}`,
    )
  }
}

const hashes: string[] = []
try {
  console.log(machine())
  await many()
  await deep()
} finally {
  await postgresql.stop()
  rmSync(folder, { recursive: true })
}
