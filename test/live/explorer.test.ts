/** The section "Storage" of Orthanc's own web interface, in a real browser. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { GIVE_UP_MS } from '../../harness/until.ts'
import { directoryStore } from '../../src/stores/directory/directory.ts'
import { liveBrowser } from './support/browser.ts'
import { directoryPlace, type Place } from './support/places.ts'

const launch = liveBrowser()
const IMAGES = 4

describe('Orthanc Explorer', { skip: !launch }, () => {
  let browser: Browser
  let page: Page
  let place: Place
  let folder: string
  let orthanc: OrthancProcess
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
    page.setDefaultTimeout(GIVE_UP_MS)
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
    assert.deepEqual(await buttons(), ['Move back to disk'])
    await section().getByText('Move back to disk').click()
    await says("Done: 4 files moved to this server's disk.")
    await says(/^4 files, [\d.]+ kB on this server's disk$/)
    assert.deepEqual(await tiers(), [IMAGES, 0])
  })

  it('says that a move waits for another Orthanc', async () => {
    // This process is the other one.
    const disk = directoryStore(join(folder, 'index'), { marked: false })
    const share = await disk.lease({ place: 'file-system', warn: assert.fail }).take()
    assert.ok('end' in share)
    await open()
    await section().getByText('Move to object storage').click()
    await says(`Waiting: another Orthanc, on ${hostname()}, moves files now`)
    await share.end()
    await says('Done: 4 files moved to object storage.')
    await orthanc.postJson('/move-storage', Buffer.from(`{"Resources":["${study}"],"TargetStorage":"file-system"}`))
  })

  it('tells of a move that fails why, and what is missing', async () => {
    const [{ ID: first }] = await orthanc.getJson(`/studies/${study}/instances`)
    await orthanc.postJson('/move-storage', Buffer.from(`{"Resources":["${first}"],"TargetStorage":"object-storage"}`))
    for (const key of await place.keys()) await place.remove(key)
    await open()
    await says('1 file missing: in none of the places')
    await section().getByText('Move to object storage').click()
    await says('1 file could not be moved to object storage.')
    await says('3 files moved to object storage.')
    assert.equal(await section().locator('.cloud-storage-reason').count(), 1)
    assert.deepEqual(await tiers(), [0, IMAGES - 1])
  })

  it('follows a move that was started elsewhere, below any path of a reverse proxy', async () => {
    const body = { Resources: [study], TargetStorage: 'file-system', Asynchronous: true }
    const { ID } = await orthanc.postJson('/move-storage', Buffer.from(JSON.stringify(body)))
    await orthanc.job(ID, ['Failure'])
    // A move of four small files is over before a browser has looked. So this test decides when the page sees its end.
    let held = true
    const under = (job: { Content: object }) => ({
      ...job,
      State: 'Running',
      Content: { ...job.Content, Moved: { Files: 2, Bytes: 1 }, AlreadyThere: { Files: 0, Bytes: 0 }, Failed: 0 },
    })
    await page.route('**/pacs/orthanc/**', async route => {
      const path = route
        .request()
        .url()
        .replace(/^.*\/pacs\/orthanc/, '')
      const answer = await route.fetch({ url: `${orthanc.url}${path}` })
      if (!held || !path.startsWith('/jobs')) return await route.fulfill({ response: answer })
      const jobs = await answer.json()
      return await route.fulfill({
        json: Array.isArray(jobs) ? jobs.map(job => (job.ID === ID ? under(job) : job)) : under(jobs),
      })
    })
    await page.goto(`http://proxy.invalid/pacs/orthanc/app/explorer.html#study?uuid=${study}`)
    await says("Moving to this server's disk: 2 of 4 files")
    assert.equal(await section().locator('progress').getAttribute('value'), '50')
    assert.deepEqual(await buttons(), [])
    held = false
    await says(/^3 files, [\d.]+ kB on this server's disk$/)
    assert.deepEqual(await tiers(), [IMAGES - 1, 0])
    await page.unroute('**/pacs/orthanc/**')
  })

  it('says politely what goes wrong', async () => {
    await page.route('**/move-storage', route => route.fulfill({ status: 403 }))
    await open()
    await section().getByText('Move to object storage').click()
    await says('Nothing was moved: you have no permission.')
    await says(/^3 files, [\d.]+ kB on this server's disk$/)
    await page.route(/\/cloud-storage\?/, route => route.abort())
    await open()
    await says('Where the files are is not known: the server does not answer.')
    await page.unrouteAll()
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
