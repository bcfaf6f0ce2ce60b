import type { ContentType } from '../area/area.ts'
import type { Indexed } from './orthanc-index.ts'

const IS_UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const IS_MD5 = /^[0-9a-f]{32}$/i

/** By Orthanc's numbers; all others are `unknown`. */
const types: Readonly<Record<number, ContentType>> = { 1: 'dicom', 2: 'dicom-as-json', 3: 'dicom-until-pixel-data' }

/**
 * One attachment, from values of any shape; undefined when they are not what Orthanc has of one. `type`: its number.
 * `md5`: Orthanc has an empty text, or nothing, where it keeps none.
 */
export function indexedOf(uuid: unknown, type: unknown, size: unknown, md5: unknown): Indexed | undefined {
  if (typeof uuid !== 'string' || !IS_UUID.test(uuid)) return undefined
  if (!isCount(type) || !isCount(size)) return undefined
  const common = { uuid, type: types[type] ?? 'unknown', size }
  if (md5 === '' || md5 === null || md5 === undefined) return { ...common, md5: undefined }
  if (typeof md5 !== 'string' || !IS_MD5.test(md5)) return undefined
  return { ...common, md5: md5.toLowerCase() }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0
