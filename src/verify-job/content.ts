/** What `GET /jobs/{id}` shows of a verification. Orthanc writes it to its database after each step: it is bounded. */
import type { Fault } from '../fault.ts'
import type { JsonObject } from '../orthanc.ts'
import { type Finding, KINDS, type Kind } from '../verify/finding.ts'
import { isLookedFor, type PlaceTally } from '../verify/tally.ts'
import type { Verification } from '../verify/verify.ts'
import type { VerifyRequest } from './request.ts'

/** Of each kind. Further findings are only counted. */
export const MOST_FINDINGS = 100
/** Further failures are only counted. */
export const MOST_FAILURES = 100

/** The findings and failures that are shown one by one. */
export class Shown {
  readonly findings = new Map<Kind, Finding[]>()
  readonly failures: string[] = []

  /** How many of its kind are shown now. Undefined: there are too many, and it is not shown. */
  addFinding(finding: Finding): number | undefined {
    const same = this.findings.get(finding.kind) ?? []
    this.findings.set(finding.kind, same)
    return same.length < MOST_FINDINGS ? same.push(finding) : undefined
  }

  addFailure(fault: Fault): number | undefined {
    return this.failures.length < MOST_FAILURES ? this.failures.push(fault.describe()) : undefined
  }
}

export interface Position {
  readonly phase: 'waiting' | Verification['phase'] | 'ended'
  /** Why it did not come to its end. */
  readonly reason?: string | undefined
}

type Seen = Pick<Verification, 'tally' | 'complete' | 'share' | 'strange'>

export function contentOf(request: VerifyRequest, seen: Seen, shown: Shown, position: Position): JsonObject {
  const { tally, complete, share, strange } = seen
  const how = { deep: request.Deep, digests: request.Digests }
  const counts = KINDS.map(kind => [kind, isLookedFor(kind, how, tally) ? tally.findings[kind] : null] as const)
  return {
    ...request,
    Phase: position.phase,
    Complete: complete,
    ...(position.reason !== undefined && { Reason: position.reason }),
    BelongTogether: share === 1 ? !strange : null,
    Files: tally.indexed,
    Places: tally.places.map(placeShown),
    Found: Object.fromEntries(counts),
    Findings: KINDS.flatMap(kind => shown.findings.get(kind) ?? []).map(findingShown),
    Read: { Files: tally.read.files, Bytes: tally.read.bytes, WithoutMD5: tally.withoutMd5 },
    ...(how.digests && { DigestsCompared: { Right: tally.digests.same, Unclear: tally.digests.unclear } }),
    NotLookedAtAgain: tally.suspects,
    ChangedMeanwhile: tally.settled,
    TooYoung: tally.young,
    InJournalOfRemovals: tally.promised,
    Failed: tally.failures,
    Failures: shown.failures.map(Reason => ({ Reason })),
  }
}

function placeShown({ store, objects, bytes, strangers, trash, clock }: PlaceTally): JsonObject {
  return {
    Store: store,
    Objects: objects,
    Bytes: bytes,
    LeftAlone: strangers,
    InTrash: trash,
    AgesBy: clock ?? null,
  }
}

function findingShown({ kind, uuid, type, key, store, expected, found }: Finding): JsonObject {
  return {
    Kind: kind,
    Uuid: uuid,
    ...(type !== undefined && { ContentType: type }),
    Key: key,
    Store: store,
    Expected: expected,
    Found: found,
  }
}
