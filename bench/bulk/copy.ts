/**
 * node bench/bulk/copy.ts [FILES]: `copy` from bucket to bucket, each a round trip of 20 ms away. Beside it the same
 * command with one object at a time, and a plain loop of get and put over the same S3 client, which knows the keys
 * already and compares nothing. Both stores are one MinIO on this machine, which works for all of them alike.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startMinio } from '../../harness/minio.ts'
import { makeS3Bucket } from '../../harness/s3.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import { compose } from '../../src/compose.ts'
import { parseConfig } from '../../src/config/config.ts'
import { logTo } from '../../src/log.ts'
import { delayed, temporaryFolder } from '../subjects.ts'

const BYTES = 220_000
const ROUND_TRIP_MS = 20
/** The loops are so slow that fewer files show their rate. */
const LOOP_SHARE = 0.25

const files = Number(process.argv[2] ?? 1000)
const never = new AbortController().signal
const folder = temporaryFolder()
const server = await startMinio(folder)
const port = Number(new URL(server.endpoint).port)

async function configOf(bucket: string, far: boolean): Promise<object> {
  const { accessKey, secretKey, region } = server
  const at = far ? await delayed(port, ROUND_TRIP_MS) : port
  const section = { BucketName: bucket, Region: region, AccessKey: accessKey, SecretKey: secretKey }
  return { AwsS3Storage: { ...section, Endpoint: `http://127.0.0.1:${at}`, VirtualAddressing: false } }
}

function open(config: object) {
  const parsed = parseConfig(JSON.stringify(config)).config
  if (!parsed) throw new Error('no section of a provider')
  return compose(
    parsed,
    logTo(() => {}),
  ).store
}

async function fill(count: number): Promise<string> {
  const bucket = `from-${count}`
  await makeS3Bucket(server, bucket)
  const store = open(await configOf(bucket, false))
  for (let i = 0; i < count; i++) await store.put(`${randomUUID()}.dcm`, sourceOf(randomBytes(BYTES)), never)
  await store.close()
  return bucket
}

/** Seconds of the program, as people run it. */
async function command(from: object, to: object, ...more: readonly string[]): Promise<number> {
  const [one, other] = [from, to].map((config, i) => {
    const file = join(folder, `${i}.json`)
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
    return file
  }) as [string, string]
  const script = join(import.meta.dirname, '..', '..', 'dist', 'cli.mjs')
  const args = [script, 'copy', '--from', one, '--to', other, ...more]
  const began = performance.now()
  execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  return (performance.now() - began) / 1000
}

async function loop(from: object, to: object): Promise<number> {
  const [source, target] = [open(from), open(to)]
  const keys: string[] = []
  for await (const { key } of source.list('', never)) keys.push(key)
  const began = performance.now()
  for (const key of keys) await target.put(key, sourceOf(await collect(await source.get(key, undefined, never))), never)
  const seconds = (performance.now() - began) / 1000
  await source.close()
  await target.close()
  return seconds
}

try {
  const few = Math.max(1, Math.round(files * LOOP_SHARE))
  const [all, some] = [await configOf(await fill(files), true), await configOf(await fill(few), true)]
  const target = async () => {
    const bucket = `to-${randomUUID()}`
    await makeS3Bucket(server, bucket)
    return await configOf(bucket, true)
  }
  const rates: [string, number][] = [
    ['copy', files / (await command(all, await target()))],
    ['copy --concurrency 1', few / (await command(some, await target(), '--concurrency', '1'))],
    ['a loop of get and put', few / (await loop(some, await target()))],
  ]
  const [[, best]] = rates as [[string, number]]
  for (const [name, rate] of rates)
    console.log(
      `${name}: ${rate.toFixed(1)} files of ${BYTES / 1000} KB a second; copy is ${(best / rate).toFixed(1)} times as fast`,
    )
} finally {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
}
process.exit(0)
