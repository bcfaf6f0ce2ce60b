/** What tests of repair have in common. */
import { randomUUID } from 'node:crypto'
import { collect } from '../../src/bytes.ts'
import { never, type OldStore, type Site } from './verify-stage.ts'

export async function keysOf(store: OldStore | undefined): Promise<readonly string[]> {
  const keys: string[] = []
  if (store) for await (const { key } of store.list('', never)) keys.push(key)
  return keys
}

export const bytesOf = async (store: OldStore, key: string) => collect(await store.get(key, undefined, never))

/** So many files that are well that one orphan is not too much. */
export async function grown(site: Site, count = 40): Promise<Site> {
  for (let i = 0; i < count; i++) await site.add()
  return site
}

export async function addOrphan(
  site: Site,
  type: 'dicom' | 'unknown' = 'dicom',
  bytes: Buffer = Buffer.from('nobody knows me'),
) {
  const uuid = randomUUID()
  const key = site.keyOf({ uuid, type })
  await site.put(site.store, key, bytes)
  return { uuid, key }
}
