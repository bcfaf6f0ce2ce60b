import type { Attachment, ContentType, KnownContent } from '../area/area.ts'
import { Fault, isObject } from '../fault.ts'
import type { Json, Orthanc } from '../orthanc.ts'

export const levels = ['Patients', 'Studies', 'Series', 'Instances'] as const
export type ResourceLevel = (typeof levels)[number]

/** A file as Orthanc's database has it. */
export interface KnownFile {
  readonly attachment: Attachment
  /** Orthanc's name of it, such as `dicom`. */
  readonly name: string
  /** As it was given to the storage area. `md5`: in hex, if Orthanc keeps it (`StoreMD5ForAttachments`). */
  readonly known: KnownContent
}

/** One patient, study, series or instance, with its own files. The files of its children come after it. */
export interface Visit {
  /** Where it is in Orthanc's REST API: `/series/<id>`. */
  readonly uri: string
  readonly files: readonly KnownFile[]
  readonly cursor: Cursor
  /** 0 … 1, of the whole walk. Siblings weigh the same, because their sizes are not known before. */
  readonly progress: number
}

/** The last resource that is done. */
export interface Cursor {
  /** Which of the resources to walk: the index in a list, or the number of patients before it. */
  readonly top: number
  /** Ids from there down. Siblings are visited in the order of their ids. */
  readonly path: readonly string[]
  /** In a walk through everything: the patients before it, the latest last. They show the place if it was deleted. */
  readonly before?: readonly string[]
}

export const BEGINNING: Cursor = { top: 0, path: [] }

/** Orthanc for the time of a step. */
export type AskOrthanc = (uri: string) => Promise<Json | undefined>

export const askOf =
  (orthanc: Orthanc, signal: AbortSignal): AskOrthanc =>
  uri =>
    orthanc.get(uri, signal)

export interface Top {
  readonly level: ResourceLevel
  readonly id: string
  readonly index: number
  readonly count: number
  /** As in `Cursor`. */
  readonly before?: readonly string[]
}

/** Visits all resources below `tops`, from the one after `cursor` on. Skips what is not there any more. */
export async function* walk(
  tops: AsyncIterable<Top>,
  cursor: Cursor,
  ask: AskOrthanc,
): AsyncGenerator<Visit, undefined> {
  for await (const { level, id, index, count, before } of tops) {
    const done = id === cursor.path[0] && (before || index === cursor.top) ? cursor.path : []
    const share = { from: index / count, to: (index + 1) / count }
    for await (const visited of visit(levels.indexOf(level), [id], done, index, share, ask))
      yield before ? { ...visited, cursor: { ...visited.cursor, before } } : visited
  }
}

async function* visit(
  depth: number,
  path: readonly string[],
  done: readonly string[],
  top: number,
  share: { from: number; to: number },
  ask: AskOrthanc,
): AsyncGenerator<Visit, undefined> {
  const level = levels[depth] as ResourceLevel
  const uri = `/${level.toLowerCase()}/${path.at(-1)}`
  const below = levels[depth + 1]
  const children = below ? childrenOf(uri, await ask(uri), below) : []
  const step = (share.to - share.from) / (children.length + 1)
  if (done.length === 0)
    yield { uri, files: await askForFiles(uri, ask), cursor: { top, path }, progress: share.from + step }
  const next = done[1]
  for (const [i, child] of children.entries()) {
    if (next !== undefined && child < next) continue
    const from = share.from + step * (i + 1)
    const doneBelow = child === next ? done.slice(1) : []
    yield* visit(depth + 1, [...path, child], doneBelow, top, { from, to: from + step }, ask)
  }
}

function childrenOf(uri: string, resource: Json | undefined, level: ResourceLevel): readonly string[] {
  if (resource === undefined) return []
  return textsOf(uri, isObject(resource) ? resource[level] : resource).toSorted()
}

/** The files of one resource itself. */
export async function askForFiles(uri: string, ask: AskOrthanc): Promise<readonly KnownFile[]> {
  const list = `${uri}/attachments`
  const files: KnownFile[] = []
  for (const name of textsOf(list, (await ask(list)) ?? [])) {
    const file = await askForFile(uri, name, ask)
    if (file) files.push(file)
  }
  return files
}

/** Undefined when Orthanc has no such file (any more). */
export async function askForFile(uri: string, name: string, ask: AskOrthanc): Promise<KnownFile | undefined> {
  const place = `${uri}/attachments/${name}/info`
  const info = await ask(place)
  if (info === undefined) return undefined
  const { Uuid: uuid, ContentType: number, CompressedSize: size, CompressedMD5 } = isObject(info) ? info : {}
  if (typeof uuid !== 'string' || typeof number !== 'number' || typeof size !== 'number') throw notUnderstood(place)
  const md5 = typeof CompressedMD5 === 'string' && CompressedMD5.toLowerCase()
  return { attachment: { uuid, type: types[number] ?? 'unknown' }, name, known: { size, ...(md5 && { md5 }) } }
}

/** Orthanc's own index, SQLite, belongs to one Orthanc. One in a plugin, such as PostgreSQL, may be shared. */
export async function isIndexInPlugin(ask: AskOrthanc): Promise<boolean> {
  const system = await ask('/system')
  return isObject(system) && typeof system['DatabaseBackendPlugin'] === 'string'
}

const types: Readonly<Record<number, ContentType>> = { 1: 'dicom', 2: 'dicom-as-json', 3: 'dicom-until-pixel-data' }

/** Only a 404 says that something is not there. Any other answer that is not a list of texts is a fault. */
function textsOf(uri: string, answer: unknown): readonly string[] {
  if (Array.isArray(answer) && answer.every(text => typeof text === 'string')) return answer
  throw notUnderstood(uri)
}

const notUnderstood = (uri: string) => new Fault('Internal', `Orthanc's answer to GET ${uri} is not understood`)

/** The resources of a list, from `first` on. */
export async function* listed(
  resources: readonly (readonly [ResourceLevel, string])[],
  first: number,
): AsyncGenerator<Top> {
  for (const [index, [level, id]] of resources.entries())
    if (index >= first) yield { level, id, index, count: resources.length }
}

/** Ids of Orthanc's by their level. */
export type Grouped = Readonly<Record<ResourceLevel, readonly string[]>>

export function listOf(grouped: Grouped): (readonly [ResourceLevel, string])[] {
  return levels.flatMap(level => grouped[level].map(id => [level, id] as const))
}

const PAGE = 100
/** Only when so many patients in a row are deleted at once, the place is lost and the walk begins again. */
const KEPT_BEFORE = 20

/**
 * All patients, page by page, from the one that `cursor` names on. Orthanc numbers them by position, so the patients
 * behind a deleted one move up. Each page therefore begins with an overlap. If none of the latest patients is in it,
 * the walk goes back until it meets one.
 */
export async function* everything(cursor: Cursor, ask: AskOrthanc): AsyncGenerator<Top> {
  const statistics = await ask('/statistics')
  const known = isObject(statistics) ? statistics['CountPatients'] : undefined
  const count = typeof known === 'number' ? Math.max(1, known) : Math.max(1, cursor.top)
  let since = Math.min(cursor.top, count) // from far behind the last one, the walk would go back for very long
  /** These are done. The patient of the cursor may not be: the path of the cursor says what of it is done. */
  let latest: readonly string[] = cursor.before ?? []
  let entered = cursor.path[0]
  for (;;) {
    const page = `/patients?since=${since}&limit=${PAGE}`
    const ids = textsOf(page, await ask(page))
    const at = entered === undefined ? -1 : ids.indexOf(entered)
    const from = at >= 0 ? at : Math.max(...latest.map(id => ids.lastIndexOf(id)), -1) + 1
    if (from === 0 && at < 0 && since > 0 && (latest.length > 0 || entered !== undefined)) {
      since = Math.max(0, since - PAGE / 2)
      continue
    }
    for (const [i, id] of ids.entries()) {
      if (i < from) continue
      yield { level: 'Patients', id, index: since + i, count: Math.max(count, since + i + 1), before: latest }
      latest = [...latest, id].slice(-KEPT_BEFORE)
    }
    entered = undefined
    if (ids.length < PAGE) return
    since += ids.length - 1
  }
}
