/**
 * What comes by REST, what Orthanc answers, and what it kept of a job: none of it is ours, and all of it may be
 * anything.
 */
import assert from 'node:assert/strict'
import { AnswerKind, Kind, unpack, Verb } from '../../src/wire/frames.ts'
import { orthancId } from '../support/fake-orthanc.ts'
import type { PeerConnection, Reply } from '../support/peer.ts'
import { fc } from '../support/property.ts'
import type { Claims } from './claim.ts'
import { isDefect, servicesInMemory, withWorker } from './engine-side.ts'
import { edited, edits, oddJson, replaced } from './odd-json.ts'

const id = orthancId('someone')
const other = orthancId('nobody')
const uuid = '0a1b2c3d-4e5f-4a6b-8c7d-000000000001'
const POST = 2

/** An Orthanc that knows one patient, and says so in the way of all Orthancs. */
const orderly: Reply = ({ kind, texts: [uri = ''] }) => {
  if (kind === Kind.submit) return [{ status: 200 }, 'job-1']
  if (uri === `/patients/${id}`) return [{ status: 200 }, JSON.stringify({ ID: id, Studies: [] })]
  if (uri === `/patients/${id}/attachments`) return [{ status: 200 }, '[]']
  if (uri === '/jobs/job-1') return [{ status: 200 }, JSON.stringify({ State: 'Success', Content: { Moved: 0 } })]
  return [{ status: 404 }, '']
}

const moveNames = [
  'Resources',
  'TargetStorage',
  'Scope',
  'Synchronous',
  'Asynchronous',
  'Priority',
  'DryRun',
  'KeepSource',
  'Digests',
  'OlderThan',
]
const moveValues = [id, other, [id], [id, id], 'file-system', 'object-storage', 'All', '__proto__', 'x'.repeat(44)]
const move = { Resources: [id], TargetStorage: 'object-storage', Synchronous: false, Priority: 0, DryRun: true }
const changes = (json: fc.Arbitrary<string>) => fc.array(fc.tuple(fc.nat(), json), { maxLength: 4 })

const moveJson = oddJson(moveNames, moveValues)
const body = fc.oneof(
  moveJson,
  fc.tuple(moveJson, edits).map(([text, list]) => edited(text, list)),
  changes(moveJson).map(list => replaced(move, list)),
)
const bodyBytes = fc.oneof(
  body.map(text => Buffer.from(text)),
  fc.uint8Array({ maxLength: 200 }),
  body.map(text => Buffer.from(text, 'latin1')),
)

const uri = fc.oneof(
  fc.constantFrom('/move-storage', '/move-storage', '/cloud-storage/status', '/cloud-storage/ready'),
  fc.constantFrom('/move-storage', '/cloud-storage/verify'),
  fc
    .constantFrom('patients', 'studies', 'series', 'instances', '__proto__')
    .map(level => `/${level}/${id}/cloud-storage`),
  fc.string({ maxLength: 44 }).map(text => `/patients/${text}/cloud-storage`),
  fc.string({ unit: 'binary' }),
)

/** What may come back from Orthanc. */
const answerNames = [
  'ID',
  'Studies',
  'Series',
  'Instances',
  'Patients',
  'Uuid',
  'ContentType',
  'CompressedSize',
  'CompressedMD5',
  'State',
  'Content',
  'Failed',
  'CountPatients',
]
const answerValues = [
  id,
  other,
  [id, other],
  ['dicom'],
  ['dicom', '1025'],
  uuid,
  1,
  10,
  'Success',
  'Failure',
  { Failed: 3 },
  { Uuid: uuid, ContentType: 1, CompressedSize: 10 },
]
const answerJson = oddJson(answerNames, answerValues)
const reply = fc.record({
  status: fc.constantFrom(200, 200, 200, 200, 200, 204, 301, 401, 404, 413, 500, 503, 0, 65535),
  argument: fc.constantFrom(0, 7, 17, 36, 1, 2 ** 53 - 1),
  flags: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 255),
  text: fc.oneof({ weight: 6, arbitrary: answerJson }, { weight: 1, arbitrary: fc.string({ unit: 'binary' }) }),
})
type Answers = readonly (typeof reply extends fc.Arbitrary<infer T> ? T : never)[]

/** Orthanc answers with each in turn, then knows nothing any more. A real Orthanc comes to an end, too. */
function inTurn(replies: Answers): Reply {
  let next = 0
  return ({ kind, flags }) => {
    const given = replies[next++]
    if (!given || (kind === Kind.upcall && flags === 0)) return [{ status: 404 }, '']
    const { status, argument, flags: mark, text } = given
    return [{ status: text === '' ? 204 : status, argument, flags: mark }, text]
  }
}

/** What a job of ours has said about itself, somewhere in the middle of the other frames. */
const tally = { Files: 3, Bytes: 30 }
const state = (scope: boolean) => ({
  Version: 1,
  ...(scope ? { Scope: 'All' } : { Patients: [id], Studies: [other], Series: [], Instances: [] }),
  TargetStorage: 'object-storage',
  DryRun: false,
  KeepSource: true,
  Cursor: { Top: 0, Path: [id, other], ...(scope && { Before: [other] }) },
  Progress: 0.5,
  Results: {
    Moved: tally,
    AlreadyThere: tally,
    OnFileSystem: tally,
    OnObjectStorage: tally,
    Failed: 1,
    Failures: [{ Attachment: `/instances/${id}/attachments/dicom`, Uuid: uuid, Reason: 'why' }],
  },
})
const stateJson = oddJson(
  [
    'Version',
    'Patients',
    'Studies',
    'Scope',
    'TargetStorage',
    'Cursor',
    'Top',
    'Path',
    'Before',
    'Progress',
    'Results',
    'Moved',
    'Files',
    'Failures',
  ],
  [1, [id], id, 'All', 'file-system', { Top: 3, Path: [] }, tally, 1e15, [[id]]],
)
/** The same of a verification. */
const verification = {
  Kind: 'VerifyStorage',
  Version: 1,
  Request: { Digests: true, Deep: true, OlderThan: '24h', Settle: '0' },
  Content: { Phase: 'listing', Found: { orphan: 3 }, Findings: [{ Kind: 'orphan', Uuid: uuid }] },
  Progress: 0.5,
}
const verificationJson = oddJson(
  ['Kind', 'Version', 'Request', 'Digests', 'Deep', 'OlderThan', 'Settle', 'Content', 'Progress', 'Outcome'],
  [1, '24h', '0', true, 0.5, 'success', 'VerifyStorage', { Phase: 'ended' }],
)
const verificationText = fc.oneof(
  changes(verificationJson).map(list => replaced(verification, list)),
  edits.map(list => edited(JSON.stringify(verification), list)),
)

const stateText = fc.oneof(
  stateJson,
  fc.tuple(fc.boolean(), changes(stateJson)).map(([scope, list]) => replaced(state(scope), list)),
  fc.tuple(fc.boolean(), edits).map(([scope, list]) => edited(JSON.stringify(state(scope)), list)),
)

const MOST_STEPS = 20

/** Runs a job from its kept text, as Orthanc does, until it ends or has had its steps. */
async function run(peer: PeerConnection, verbs: readonly number[], kept: string): Promise<void> {
  let text = kept
  for (const verb of verbs) {
    const outcome = await peer.job(verb, 1, text)
    assert.ok(!isDefect(outcome), outcome.text)
    if (outcome.status !== 0) continue
    const [content = '', serialized = ''] = unpack(outcome.result)
    JSON.parse(content)
    text = serialized
    // What a job says of itself, it understands.
    const again = await peer.job(Verb.jobRestore, 2, text)
    assert.equal(again.status, 0, again.text)
    if (outcome.flags !== 3) break
  }
}

export const claims: Claims = {
  'a request is answered, or refused with what is wrong about it': {
    property: fc.asyncProperty(fc.nat(5), uri, bodyBytes, async (method, where, bytes) => {
      await withWorker(servicesInMemory(), async peer => {
        peer.orthanc = orderly
        const answered = await peer.rest(method, where, Buffer.from(bytes))
        assert.equal(answered.status, 0, answered.text)
        if (answered.flags === AnswerKind.error) assert.ok([8, 17].includes(answered.argument), answered.text)
        else if (answered.flags === AnswerKind.body) {
          assert.equal(answered.argument, 200)
          JSON.parse(answered.result.toString())
        } else assert.match(answered.text, /^(GET|POST)$/)
        const next = await peer.rest(POST, '/move-storage', Buffer.from(JSON.stringify(move)))
        assert.deepEqual(JSON.parse(next.result.toString()), { ID: 'job-1', Path: '/jobs/job-1' })
      })
    }),
    runs: 60,
  },

  'whatever Orthanc answers, a request ends, and never by a defect': {
    property: fc.asyncProperty(
      fc.constantFrom('patients', 'studies', 'series', 'instances', 'move'),
      fc.boolean(),
      fc.array(reply, { maxLength: 12 }),
      async (what, wait, replies) => {
        await withWorker(servicesInMemory(), async peer => {
          peer.orthanc = inTurn(replies)
          const answered =
            what === 'move'
              ? await peer.rest(POST, '/move-storage', Buffer.from(JSON.stringify({ ...move, Synchronous: wait })))
              : await peer.rest(1, `/${what}/${id}/cloud-storage`)
          assert.ok(!isDefect(answered), answered.text)
          if (answered.status === 0 && answered.flags === AnswerKind.body) JSON.parse(answered.result.toString())
        })
      },
    ),
    runs: 60,
  },

  'a verification begins again from any text that Orthanc kept of it, or says that it cannot': {
    property: fc.asyncProperty(verificationText, fc.array(reply, { maxLength: 12 }), async (text, replies) => {
      await withWorker(servicesInMemory(), async peer => {
        peer.orthanc = inTurn(replies)
        await run(peer, [Verb.jobRestore, ...Array(MOST_STEPS).fill(Verb.jobStep), Verb.jobStop, Verb.jobReset], text)
      })
    }),
    runs: 40,
  },

  'a job goes on from any text that Orthanc kept of it, or says that it cannot': {
    property: fc.asyncProperty(stateText, fc.array(reply, { maxLength: 12 }), async (text, replies) => {
      await withWorker(servicesInMemory(), async peer => {
        peer.orthanc = inTurn(replies)
        await run(peer, [Verb.jobRestore, ...Array(MOST_STEPS).fill(Verb.jobStep), Verb.jobStop, Verb.jobReset], text)
        await run(peer, [Verb.jobReset, Verb.jobStep, Verb.jobStop], text)
      })
    }),
    runs: 60,
  },
}
