/** What a walk through Orthanc makes of answers that nobody expects. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type AskOrthanc, BEGINNING, everything, listed, walk } from '../src/moves/walk.ts'
import type { Json } from '../src/orthanc.ts'
import { FakeOrthanc } from './support/fake-orthanc.ts'

const orthanc = new FakeOrthanc()
const patient = orthanc.addPatient('p')

/** Orthanc, but for the answers to questions whose path matches. */
const but =
  (path: RegExp, answer: Json | undefined): AskOrthanc =>
  async uri =>
    path.test(uri) ? answer : await orthanc.get(uri)

async function filesOfAll(ask: AskOrthanc): Promise<number> {
  let files = 0
  for await (const visit of walk(everything(BEGINNING, ask), BEGINNING, ask)) files += visit.files.length
  return files
}

const lists = [/^\/patients\?/, /^\/patients\/[^/]+$/, /^\/series\/[^/]+$/, /^\/instances\/[^/]+\/attachments$/]

describe('a walk through Orthanc', () => {
  it('finds all files', async () => assert.equal(await filesOfAll(but(/^$/, null)), 4))

  for (const path of [...lists, /\/info$/])
    for (const answer of ['text', 5, {}, [1], [{ toString: 1 }], { Uuid: 5 }, { Studies: 'x', Instances: {} }])
      it(`takes ${JSON.stringify(answer)} as the answer to ${path.source} for no absence`, async () => {
        await assert.rejects(filesOfAll(but(path, answer)), { code: 'Internal', message: /is not understood/ })
      })

  it('passes over what is not there any more', async () => {
    for (const path of lists.slice(1)) assert.ok((await filesOfAll(but(path, undefined))) < 4)
    assert.equal(await filesOfAll(but(/\/info$/, undefined)), 0)
  })

  it('does not need to know how many patients there are', async () => {
    for (const answer of [undefined, null, {}, { CountPatients: 'many' }])
      assert.equal(await filesOfAll(but(/^\/statistics/, answer)), 4)
  })

  it('finds its way back from far behind the last patient', async () => {
    const cursor = { top: Number.MAX_SAFE_INTEGER, path: [patient], before: ['gone'] }
    const tops: string[] = []
    for await (const { id } of everything(cursor, but(/^$/, null))) tops.push(id)
    assert.deepEqual(tops, [patient])
  })

  it('visits each resource of a list once', async () => {
    const uris: string[] = []
    const ask = but(/^$/, null)
    for await (const { uri } of walk(listed([['Patients', patient]], 0), BEGINNING, ask)) uris.push(uri)
    assert.equal(new Set(uris).size, 4)
  })
})
