/** AWS's default chain, as far as it can be had without AWS: a profile whose keys an operator replaces. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { s3Credentials } from '../src/stores/s3-auth.ts'

const variables = ['AWS_SHARED_CREDENTIALS_FILE', 'AWS_CONFIG_FILE', 'AWS_EC2_METADATA_DISABLED', 'AWS_PROFILE']

describe("credentials of AWS's default chain", () => {
  let folder: string
  let before: (string | undefined)[]
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-aws-'))
    before = variables.map(name => process.env[name])
    process.env['AWS_SHARED_CREDENTIALS_FILE'] = join(folder, 'credentials')
    process.env['AWS_CONFIG_FILE'] = join(folder, 'config')
    process.env['AWS_EC2_METADATA_DISABLED'] = 'true'
    delete process.env['AWS_PROFILE']
  })
  afterEach(() => {
    for (const [i, name] of variables.entries())
      if (before[i] === undefined) delete process.env[name]
      else process.env[name] = before[i]
    rmSync(folder, { recursive: true, force: true })
  })
  const write = (key: string) =>
    writeFileSync(
      join(folder, 'credentials'),
      `[default]\naws_access_key_id = ${key}\naws_secret_access_key = secret-of-${key}\n`,
    )

  it('follow a profile that is written anew, without a restart, and survive its absence', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const credentials = s3Credentials(undefined, 'eu-west-1')
    write('ONE')
    assert.equal((await credentials()).accessKeyId, 'ONE')
    write('TWO')
    assert.equal((await credentials()).accessKeyId, 'ONE') // not looked at with every request
    t.mock.timers.tick(61_000)
    assert.equal((await credentials()).accessKeyId, 'TWO')
    assert.equal((await credentials()).secretAccessKey, 'secret-of-TWO')
    rmSync(join(folder, 'credentials'))
    t.mock.timers.tick(61_000)
    assert.equal((await credentials()).accessKeyId, 'TWO')
    write('THREE')
    assert.equal((await credentials()).accessKeyId, 'THREE')
  })

  it('say what to do when there are none', () =>
    assert.rejects(s3Credentials(undefined, 'eu-west-1')(), {
      code: 'Denied',
      remedy: /Give AccessKey and SecretKey/,
    }))
})
