/** The section "Storage" of Orthanc's own web interface, in a real browser. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { makeImage } from '../dicom.ts'
import { liveBrowser } from './browser.ts'
import { type Orthanc, startOrthanc } from './orthanc.ts'
import { directoryPlace, type Place } from './places.ts'

const launch = liveBrowser()
const IMAGES = 4

describe('Orthanc Explorer', { skip: !launch }, () => {
  let browser: Browser
  let page: Page
  let place: Place
  let folder: string
  let orthanc: Orthanc
  let study: string
  const complaints: string[] = []

  const start = async (HybridMode: string) => {
    const { DirectoryStorage } = place.config
    orthanc = await startOrthanc({ config: { DirectoryStorage: { ...DirectoryStorage, HybridMode } }, dir: folder })
  }
  const open = async () => {
    await page.goto('about:blank')
    await page.goto(`${orthanc.url}/app/explorer.html#study?uuid=${study}`)
  }
  const upload = async (seed: number): Promise<string> =>
    (await orthanc.postJson('/instances', makeImage({ seed, rows: 64, columns: 64 }))).ParentStudy
  const tiers = async () => {
    const { Totals } = await orthanc.getJson(`/studies/${study}/cloud-storage`)
    return [Totals['file-system']?.Files, Totals['object-storage'].Files]
  }
  const section = () => page.locator('#study #cloud-storage')
  const says = async (text: string | RegExp) => await section().getByText(text).waitFor()
  const buttons = async () => (await section().getByRole('link').allTextContents()).map(text => text.trim())

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-explorer-'))
    place = await directoryPlace()
    browser = (await launch?.()) as Browser
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    page.setDefaultTimeout(20_000)
    page.on('pageerror', error => complaints.push(String(error)))
    await start('WriteToFileSystem')
    for (let seed = 1; seed <= IMAGES; seed++) study = await upload(seed)
  })
  after(async () => {
    await browser?.close()
    await orthanc?.stop()
    await place?.dispose()
    rmSync(folder, { recursive: true, force: true })
  })

  it('tells where a study is, moves it to object storage and back', async () => {
    await open()
    await says(/^4 files, [\d.]+ kB on this server's disk$/)
    assert.deepEqual(await buttons(), ['Move to object storage'])
    await section().getByText('Move to object storage').click()
    await says('Done: 4 files moved to object storage.')
    await says(/^4 files, [\d.]+ kB in directory:.*objects$/)
    assert.deepEqual(await tiers(), [0, IMAGES])
    assert.deepEqual(await buttons(), ['Bring back to disk'])
    await section().getByText('Bring back to disk').click()
    await says("Done: 4 files moved to this server's disk.")
    await says(/^4 files, [\d.]+ kB on this server's disk$/)
    assert.deepEqual(await tiers(), [IMAGES, 0])
  })

  it('tells of a move that fails why, and what is missing', async () => {
    const [{ ID: first }] = await orthanc.getJson(`/studies/${study}/instances`)
    await orthanc.postJson('/move-storage', Buffer.from(`{"Resources":["${first}"],"TargetStorage":"object-storage"}`))
    for (const key of await place.keys()) await place.remove(key)
    await open()
    await says('1 file missing: in none of the places')
    await section().getByText('Move to object storage').click()
    await says('1 file could not be moved to object storage; they stay where they were.')
    await says('3 files moved to object storage.')
    assert.equal(await section().locator('.cloud-storage-reason').count(), 1)
    assert.deepEqual(await tiers(), [0, IMAGES - 1])
  })

  it('follows a move that was started elsewhere', async () => {
    const body = { Resources: [study], TargetStorage: 'file-system', Asynchronous: true }
    const { ID } = await orthanc.postJson('/move-storage', Buffer.from(JSON.stringify(body)))
    // Paused it waits for us, should it not have ended already.
    await orthanc.request('POST', `/jobs/${ID}/pause`, Buffer.from('{}'))
    await open()
    await says(/on the way to this server's disk|on this server's disk/)
    await orthanc.request('POST', `/jobs/${ID}/resume`, Buffer.from('{}'))
    await says(/^3 files, [\d.]+ kB on this server's disk$/)
  })

  it('only tells where a study is without a hybrid mode', async () => {
    await orthanc.delete(`/studies/${study}`)
    await orthanc.stop()
    await start('Disabled')
    study = await upload(100)
    await open()
    await says(/^1 file, [\d.]+ kB in directory:.*objects$/)
    assert.deepEqual(await buttons(), [])
  })

  it('raises no error in the page', () => assert.deepEqual(complaints, []))
})
