/** What is asked of Orthanc: which files a series has. Answers are not trusted to have the shape that they should. */
import { isObject } from '../fault.ts'
import type { Json, Orthanc } from '../orthanc.ts'

/** One instance, as Orthanc lists it below its series. */
export interface Listed {
  readonly id: string
  /** Of the attachment `dicom`. */
  readonly uuid: string
  /** Uncompressed. */
  readonly size: number
  /** SOPInstanceUID. */
  readonly instance: string | undefined
  /** Where it is in the series, for those who look at it. */
  readonly index: number | undefined
}

/** What Orthanc's database knows of an attachment as it is stored. */
export interface Info {
  readonly uuid: string
  readonly size: number
  /** In hex. Absent when Orthanc keeps none (`StoreMD5ForAttachments`). */
  readonly md5: string | undefined
}

/** Copies of one series under several patients have one UID. */
const MOST_SERIES = 4

const IS_ID = /^[0-9a-f]{8}(-[0-9a-f]{8}){4}$/
const IS_UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const IS_MD5 = /^[0-9a-f]{32}$/i

/** The instances of the series with this UID and this file, as Orthanc lists them. Undefined when there is none. */
export async function instancesOf(
  seriesUid: string,
  isKnown: (listed: Listed) => boolean,
  orthanc: Orthanc,
  signal: AbortSignal,
): Promise<readonly Listed[] | undefined> {
  const found = await orthanc.post('/tools/lookup', seriesUid, signal)
  const ids = listOf(found).flatMap(one =>
    isObject(one) && one['Type'] === 'Series' && isText(one['ID'], IS_ID) ? [one['ID']] : [],
  )
  for (const id of ids.slice(0, MOST_SERIES)) {
    const listed = listOf(await orthanc.get(`/series/${id}/instances`, signal)).flatMap(one => listedOf(one) ?? [])
    if (listed.some(isKnown)) return listed
  }
  return undefined
}

/**
 * What Orthanc knows of all attachments of a series, by the id of the instance and the number of the content type. It
 * is empty before Orthanc 1.12.5, which tells it of one instance at a time only. Series of other patients may be in it.
 */
export async function storedOf(
  seriesUid: string,
  orthanc: Orthanc,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ReadonlyMap<number, Info>>> {
  const question = { Level: 'Instance', Query: { SeriesInstanceUID: seriesUid }, ResponseContent: ['Attachments'] }
  const found = new Map<string, Map<number, Info>>()
  for (const one of listOf(await orthanc.post('/tools/find', question, signal))) {
    if (!isObject(one) || !isText(one['ID'], IS_ID)) continue
    const stored = new Map<number, Info>()
    for (const attachment of listOf(one['Attachments'] as Json | undefined)) {
      const info = infoFrom(attachment)
      if (info && isObject(attachment)) stored.set(Number(attachment['ContentType']), info)
    }
    found.set(one['ID'], stored)
  }
  return found
}

/** Undefined when the instance does not have such an attachment, or Orthanc does not tell (before 1.10). */
export async function infoOf(
  id: string,
  name: 'dicom' | 'dicom-until-pixel-data',
  orthanc: Orthanc,
  signal: AbortSignal,
): Promise<Info | undefined> {
  return infoFrom(await orthanc.get(`/instances/${id}/attachments/${name}/info`, signal))
}

function infoFrom(found: Json | undefined): Info | undefined {
  if (!isObject(found)) return undefined
  const { Uuid: uuid, CompressedSize: size, CompressedMD5: md5 } = found
  if (!isText(uuid, IS_UUID) || !isSize(size)) return undefined
  return { uuid, size, md5: isText(md5, IS_MD5) ? md5.toLowerCase() : undefined }
}

function listedOf(one: Json): Listed | undefined {
  if (!isObject(one)) return undefined
  const { ID: id, FileUuid: uuid, FileSize: size, IndexInSeries: index, MainDicomTags: tags } = one
  if (!isText(id, IS_ID) || !isText(uuid, IS_UUID) || !isSize(size)) return undefined
  const { SOPInstanceUID: instance, InstanceNumber: number } = isObject(tags) ? tags : {}
  return {
    id,
    uuid,
    size,
    instance: typeof instance === 'string' ? instance : undefined,
    index: numberOf(index) ?? numberOf(number),
  }
}

const listOf = (json: Json | undefined): readonly Json[] => (Array.isArray(json) ? json : [])
const isText = (value: unknown, shape: RegExp): value is string => typeof value === 'string' && shape.test(value)
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined
}
