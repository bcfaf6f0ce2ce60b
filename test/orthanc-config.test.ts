/** Files of Orthanc's configuration, read as Orthanc reads them. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { readConfig } from '../src/cli/orthanc-config.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ocs-config-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const read = (text: string) => {
  const file = join(folder, 'orthanc.json')
  writeFileSync(file, text)
  return readConfig([file])
}
const s3 = (more: string) => `{
  // Orthanc takes comments, and a comma too many.
  "AwsS3Storage": {
    "BucketName": "b", /* anywhere */
    "Region": "eu-west-1",
    "AccessKey": "key",
    ${more}
  },
}`

describe('a file of the configuration', () => {
  it('may have comments, and a comma too many', () => {
    assert.equal(read(s3('"SecretKey": "secret", "Tags": {"a": "b",},'))?.provider.kind, 's3')
  })

  it('keeps a secret of digits as it is written', () => {
    const provider = read(s3('"SecretKey": 12345678901234567890,'))?.provider
    assert.ok(JSON.stringify(provider).includes('"12345678901234567890"'))
  })

  for (const [text, words] of [
    ['{"A" 1}', /line 1: a colon is missing/],
    ['{\n"A": 1\n"B": 2}', /line 3: a comma is missing/],
    ['{"A": }', /a value is missing/],
    ['{"A": 1', /a closing brace is missing/],
    ['{"A": [1}', /missing/],
    ['{"A": 1} x', /after the end|quotation marks/],
  ] as const)
    it(`says what is wrong with ${JSON.stringify(text)}`, () => {
      assert.throws(() => read(text), words)
    })
})
