/** Brings back what is missing, from the store of another configuration that has the same files. */
import { moveBetween } from '../area/move.ts'
import type { Tier } from '../area/tier.ts'
import { Crew } from '../bulk/crew.ts'
import { Fault } from '../fault.ts'
import type { Indexed } from '../orthanc-index/orthanc-index.ts'
import { newDigest } from '../seal/digest.ts'
import type { Finding } from '../verify/finding.ts'
import { batches, type RepairContext } from './context.ts'

/** `replicas`: where the files may be. Only bytes whose size and MD5 are those of the index are written. */
export async function fetchMissing(
  missing: Iterable<Finding>,
  replicas: readonly Tier[],
  context: RepairContext,
  signal: AbortSignal,
): Promise<void> {
  const { index, concurrency, onFailure, onSettled } = context
  for (const batch of batches(missing)) {
    const now = await index.find(new Set(batch.map(({ uuid }) => uuid)), signal)
    const crew = new Crew(concurrency, onFailure)
    for (const finding of batch) {
      const file = now.get(finding.uuid)
      if (file) await crew.add(() => fetchOne(finding, file, replicas, context, signal))
      else onSettled(finding) // Orthanc has removed it
    }
    await crew.end()
  }
}

async function fetchOne(
  finding: Finding,
  file: Indexed,
  replicas: readonly Tier[],
  { places, yes, onRepaired, onSettled }: RepairContext,
  signal: AbortSignal,
): Promise<void> {
  const { uuid, type, size, md5 } = file
  const to = places[0]?.tier
  const where = { verb: 'fetch', key: finding.key }
  if (!to) return
  if (md5 === undefined)
    throw new Fault('Corrupt', 'the index has no MD5 of the file, so nothing could prove that a copy is right', {
      where,
      remedy: 'Copy the object by hand, if you know that it is right (StoreMD5ForAttachments was off).',
    })
  for (const from of replicas) {
    const found = await from.find(file, signal)
    if (!found) continue
    if (!yes) return onRepaired({ finding, how: 'fetch', with: from.area.name })
    const attachment = { uuid, type }
    const outcome = await moveBetween({
      ...{ from, to, attachment, known: { size, md5 }, digests: newDigest, keepSource: true, signal },
      removeSource: async () => {},
      removeCopy: () => to.area.remove(attachment, signal),
    })
    if (outcome === 'already-there') return onSettled(finding)
    if (outcome === 'moved') return onRepaired({ finding, how: 'fetch', with: from.area.name })
  }
  throw new Fault('NotFound', `${replicas.map(({ area }) => area.name).join(' and ')} does not have it either`, {
    where,
  })
}
