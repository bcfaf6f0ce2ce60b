/**
 * When all is quiet again: what Orthanc believes is in the store and right, and what else is there was reported as
 * failed.
 */

import { sha256 } from '../support/sha256.ts'
import type { Clients } from './clients.ts'
import { bytesOf, type Instance, type Model } from './model.ts'
import type { Stage } from './stage.ts'

export interface Rest {
  readonly broken: readonly string[]
  readonly instances: number
  /** Objects and files that Orthanc knows nothing of. */
  readonly leftovers: number
  /** Files that Orthanc's log names in a line about a failure. */
  readonly reported: number
}

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/

export async function verify(stage: Stage, model: Model, clients: Clients): Promise<Rest> {
  const { orthanc, hybrid, place } = stage
  const broken: string[] = []
  for (let left = 10 * model.doubtful.length; model.doubtful.length > 0; left--) {
    if (left === 0) return { broken: ['what failed fails for ever'], instances: 0, leftovers: 0, reported: 0 }
    await clients.resolve()
  }
  if (hybrid) {
    const all = JSON.stringify({ Scope: 'All', TargetStorage: 'object-storage' })
    const { status, body } = await orthanc.request('POST', '/move-storage', Buffer.from(all))
    if (status !== 200) broken.push(`a move of everything, after all faults: HTTP ${status} ${body.toString()}`)
  }

  const known = new Set(model.there.map(({ id }) => id))
  const listed: string[] = await orthanc.getJson('/instances')
  for (const id of listed) if (!known.has(id)) broken.push(`instance ${id} was removed, or never acknowledged`)
  const there = new Set(listed)
  const believed = new Set<string>()
  const check = async (instance: Instance) => {
    const { id, digest, attachment } = instance
    if (!there.has(id ?? '')) return broken.push(`instance ${id} was acknowledged, and is lost`)
    const files = await orthanc.attachmentsOf(String(id))
    if (!files.some(({ name }) => name === '2000') && !attachment.has(undefined))
      broken.push(`the attachment of instance ${id} is lost`)
    for (const { name, uuid } of files) {
      believed.add(uuid)
      const { status, body } = await orthanc.request('GET', `/instances/${id}/attachments/${name}/data`)
      // Orthanc keeps the beginning of a file beside it where it cannot read it in ranges.
      const beginning = () => sha256(bytesOf(instance).subarray(0, body.byteLength))
      const right = name === '2000' ? attachment : new Set([name === 'dicom' ? digest : beginning()])
      if (status !== 200) broken.push(`${name} of instance ${id}: HTTP ${status}`)
      else if (!right.has(sha256(body))) broken.push(`${name} of instance ${id} has other bytes`)
    }
    return 0
  }
  const rest = model.there.values()
  const worker = async () => {
    for (const instance of rest) await check(instance)
  }
  await Promise.all(Array.from({ length: 6 }, worker))

  // Of a write to a folder whose engine was killed its temporary file stays (docs/operations.md); listings do not show
  // it.
  // A start that is cut off leaves its probe, which the next start removes.
  const stored = (await place.keys()).filter(name => !name.endsWith('.orthanc-cloud-storage-check'))
  const onDisk = hybrid ? stage.onDisk().filter(name => !name.endsWith('.tmp')) : []
  const found = [...stored, ...onDisk].map(name => ({
    name,
    uuid: UUID.exec(name)?.[0] ?? name,
  }))
  const inStore = new Set(found.slice(0, stored.length).map(({ uuid }) => uuid))
  for (const uuid of believed) if (!inStore.has(uuid)) broken.push(`'${uuid}' is not in the store`)
  const leftovers = found.filter(({ uuid }, i) => i >= stored.length || !believed.has(uuid))
  const failures = orthanc
    .log()
    .split('\n')
    .filter(line => line.startsWith('E') && line.includes('cannot '))
  const reported = new Set(failures.flatMap(line => UUID.exec(line)?.[0] ?? []))
  // Without reads of ranges, an upload is two writes: the file and its beginning. When the second fails, Orthanc itself
  // says so to the client, and does not remove the first.
  let halves = failures.filter(line => /cannot write '[^']+\.dcm\.head/.test(line)).length
  for (const { name, uuid } of leftovers)
    if (!reported.has(uuid) && !(/\.dcm(\.enc)?$/.test(name) && halves-- > 0))
      broken.push(`'${name}' is left behind, and no line of the log says why`)
  return { broken, instances: listed.length, leftovers: leftovers.length, reported: reported.size }
}
