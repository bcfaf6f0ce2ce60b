import type { Attachment, Found, TierName } from '../area/area.ts'
import { lookTwice } from '../area/find.ts'
import type { Tier } from '../area/tier.ts'
import { isCode } from '../fault.ts'
import { askOf, BEGINNING, type KnownFile, levels, listed, type ResourceLevel, walk } from '../moves/walk.ts'
import type { Orthanc } from '../orthanc.ts'
import { json, OrthancError, type Route } from '../wire/router.ts'

/** So many files are looked for at once. */
const CONCURRENCY = 8

type Tiers = Readonly<Partial<Record<TierName, Tier>>>

/** `GET /instances/{id}/cloud-storage`, the same for series, studies, patients: where files are, totals per tier. */
export function whereRoute(tiers: Tiers): Route {
  return {
    pattern: `/(${levels.map(level => level.toLowerCase()).join('|')})/([0-9a-f-]{44})/cloud-storage`,
    methods: {
      async GET({ groups: [name = '', id = ''] }, orthanc, signal) {
        const level = levels.find(candidate => candidate.toLowerCase() === name) as ResourceLevel
        if ((await orthanc.get(`/${name}/${id}`, signal)) === undefined)
          return { error: OrthancError.unknownResource, details: '' }
        const files = await located(tiers, await filesBelow(level, id, orthanc, signal), signal)
        return json({ ID: id, Totals: totalsOf(tiers, files), Attachments: files })
      },
    },
  }
}

type Named = readonly [uri: string, file: KnownFile]

async function filesBelow(level: ResourceLevel, id: string, orthanc: Orthanc, signal: AbortSignal): Promise<Named[]> {
  const files: Named[] = []
  for await (const visit of walk(listed([[level, id]], 0), BEGINNING, askOf(orthanc, signal)))
    for (const file of visit.files) files.push([`${visit.uri}/attachments/${file.name}`, file])
  return files
}

interface Place {
  readonly Tier: TierName
  readonly Store: string
  readonly Key: string
  /** As it is stored. */
  readonly Size: number
  /** null: the file is not encrypted. */
  readonly EncryptedWithKey: number | null
}

interface Located {
  readonly Attachment: string
  readonly Uuid: string
  /** As Orthanc knows it. */
  readonly Size: number
  /** Empty: the file is lost. */
  readonly Places: readonly Place[]
}

async function located(tiers: Tiers, files: readonly Named[], signal: AbortSignal): Promise<Located[]> {
  const locations: Located[] = []
  const rest = files.entries()
  const stop = new AbortController()
  const anySignal = AbortSignal.any([signal, stop.signal])
  const worker = async () => {
    for (const [i, file] of rest) locations[i] = await locate(tiers, file, anySignal)
  }
  const workers = Array.from({ length: CONCURRENCY }, () =>
    worker().catch(error => {
      stop.abort(error) // the answers of the others are not needed any more
      throw error
    }),
  )
  await Promise.allSettled(workers)
  if (stop.signal.aborted) throw stop.signal.reason
  return locations
}

async function locate(tiers: Tiers, [uri, { attachment, known }]: Named, signal: AbortSignal): Promise<Located> {
  const look = () => placesOf(tiers, attachment, signal)
  const Places = await lookTwice(look, places => places.length === 0 && Object.keys(tiers).length > 1)
  return { Attachment: uri, Uuid: attachment.uuid, Size: known.size, Places }
}

async function placesOf(tiers: Tiers, attachment: Attachment, signal: AbortSignal): Promise<Place[]> {
  const places: Place[] = []
  for (const [name, tier] of Object.entries(tiers) as [TierName, Tier][]) {
    signal.throwIfAborted()
    try {
      const found = await tier.find(attachment, signal)
      if (found) places.push(await placeOf(name, tier, found, signal))
    } catch (error) {
      if (!isCode(error, 'NotFound')) throw error // a move has taken it away at this moment
    }
  }
  return places
}

async function placeOf(name: TierName, tier: Tier, found: Found, signal: AbortSignal): Promise<Place> {
  const keyId = await tier.keyIdOf(found, signal)
  return { Tier: name, Store: tier.area.name, Key: found.key, Size: found.size, EncryptedWithKey: keyId ?? null }
}

function totalsOf(tiers: Tiers, files: readonly Located[]) {
  const totals = Object.fromEntries(Object.keys(tiers).map(tier => [tier, { Files: 0, Bytes: 0 }]))
  for (const { Places } of files)
    for (const { Tier, Size } of Places) {
      const total = totals[Tier]
      if (!total) continue
      total.Files++
      total.Bytes += Size
    }
  return { ...totals, Missing: files.filter(({ Places }) => Places.length === 0).length }
}
