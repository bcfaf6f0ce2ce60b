import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { configurationFolder } from '../src/orthanc-folder.ts'

describe('the folder that Orthanc takes relative paths from', () => {
  let folder: string
  before(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'ocs-folder-')))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** Of a process that stands for Orthanc: `sleep`, given a path that is also a number. */
  const of = (path: string) => {
    const child = spawn('sleep', [path], { cwd: folder })
    try {
      return configurationFolder(child.pid as number)
    } finally {
      child.kill()
    }
  }

  it('is that of the configuration file', () => {
    writeFileSync(join(folder, '60'), '')
    assert.equal(of('60'), folder)
  })

  it('is the folder that was named instead of a file', () => {
    mkdirSync(join(folder, '61'))
    assert.equal(of('61'), join(folder, '61'))
  })

  it('is not told of a process that is gone', () => assert.equal(configurationFolder(2 ** 30), undefined))
})
