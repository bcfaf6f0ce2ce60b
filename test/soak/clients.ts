/**
 * Several clients at once, each doing one thing after the other, chosen by chance; what they see is held against the
 * model.
 */
import { type IncomingMessage, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OrthancProcess } from '../../harness/orthanc.ts'
import { GIVE_UP_MS } from '../../harness/until.ts'
import { type Chance, chanceOf } from '../support/chance.ts'
import { sha256 } from '../support/sha256.ts'
import { attachmentOf, bytesOf, type Instance, type Model, patientOf } from './model.ts'

type Known = Instance & { id: string }
type Answer = { readonly status: number; readonly body: Buffer }
const CUT_OFF: Answer = { status: 0, body: Buffer.alloc(0) }
const MOVED_TO = ['object-storage', 'file-system'] as const
const isFailure = (status: number) => status === 0 || status >= 500

export interface Counts {
  /** By what was done; each once, whatever came of it. */
  readonly done: Map<string, number>
  /** Said to the client, as a failure. */
  failures: number
  /** Connections that a reset of Orthanc cut. */
  cut: number
  /** What must never be, a line each. */
  readonly broken: string[]
}

export class Clients {
  readonly counts: Counts = { done: new Map(), failures: 0, cut: 0, broken: [] }
  /** Orthanc starts again, and cuts the connections that there are. */
  resets = 0
  resetting = false
  operations = 0
  readonly #orthanc: OrthancProcess
  readonly #model: Model
  /** So many instances, then as many are removed as are stored. */
  readonly #full: number
  readonly #hybrid: boolean

  constructor(orthanc: OrthancProcess, model: Model, full: number, hybrid: boolean) {
    this.#orthanc = orthanc
    this.#model = model
    this.#full = full
    this.#hybrid = hybrid
  }

  /** Resolves when `goesOn` has said no and all have finished what they were doing. */
  async work(count: number, seed: number, goesOn: () => boolean): Promise<void> {
    const client = async (_: unknown, i: number) => {
      const chance = chanceOf(seed * 1000 + i)
      while (goesOn()) {
        const name = this.#choose(chance)
        await this[name](chance)
        while (this.resetting) await sleep(20) // a client that is refused at once would do nothing else
        this.counts.done.set(name, (this.counts.done.get(name) ?? 0) + 1)
        this.operations++
      }
    }
    await Promise.all(Array.from({ length: count }, client))
  }

  #choose(chance: Chance) {
    const n = chance()
    if (n < 0.25) return this.#model.there.length < this.#full ? 'store' : 'remove'
    if (n < 0.3) return this.#model.doubtful.length > 0 ? 'resolve' : 'store'
    if (n < 0.31) return 'storeAgain'
    if (n < 0.6) return 'read'
    if (n < 0.78) return 'readTags'
    if (n < 0.84) return 'attach'
    if (n < 0.9) return 'readAttachment'
    if (n < 0.95) return 'label'
    if (n < 0.965) return 'locate'
    if (n < 0.975) return 'readSlowly'
    if (n < 0.985) return 'walkAway'
    return this.#hybrid ? 'move' : 'askStatus'
  }

  async store(chance: Chance): Promise<void> {
    await this.#upload(this.#model.fresh(chance), 'Success')
  }

  async #upload(instance: Instance, ...expected: string[]): Promise<void> {
    const bytes = bytesOf(instance)
    const answer = await this.#ask('POST', '/instances', bytes)
    if (answer.status !== 200) {
      if (!isFailure(answer.status)) this.#broken(`storing a file: HTTP ${answer.status} ${answer.body.toString()}`)
      return this.#model.doubt(instance, 'upload')
    }
    const { ID, Status } = JSON.parse(answer.body.toString())
    if (!expected.includes(Status)) this.#broken(`a file of Orthanc's was stored as ${Status}: instance ${ID}`)
    Object.assign(instance, { id: ID, digest: sha256(bytes) })
    this.#model.stored(instance)
  }

  /** As a modality does: what was not acknowledged is sent again. */
  async resolve(): Promise<void> {
    const instance = this.#model.doubtful.shift()
    if (!instance) return
    if (instance.doubtful === 'upload') return this.#upload(instance, 'Success', 'AlreadyStored')
    const { status } = await this.#ask('DELETE', `/instances/${instance.id}`)
    if (isFailure(status)) this.#model.doubt(instance, 'removal')
  }

  async storeAgain(chance: Chance): Promise<void> {
    await this.#model.read(chance, async instance => {
      const { status, body } = await this.#ask('POST', '/instances', bytesOf(instance))
      if (status === 200 && JSON.parse(body.toString()).Status !== 'AlreadyStored')
        this.#broken(`instance ${instance.id} was stored, and Orthanc knows nothing of it`)
    })
  }

  async read(chance: Chance): Promise<void> {
    await this.#model.read(chance, async instance => {
      this.#expect(instance, 'file', await this.#ask('GET', `/instances/${instance.id}/file`), instance.digest)
    })
  }

  async readTags(chance: Chance): Promise<void> {
    await this.#model.read(chance, async instance => {
      const { status, body } = await this.#ask('GET', `/instances/${instance.id}/tags?simplify`)
      if (isFailure(status)) return
      if (status !== 200) return this.#broken(`the tags of instance ${instance.id}: HTTP ${status}`)
      const { InstanceNumber, PatientID } = JSON.parse(body.toString())
      if (InstanceNumber !== String(instance.seed) || PatientID !== patientOf(instance.study))
        this.#broken(`the tags of instance ${instance.id} are another one's`)
    })
  }

  async attach(chance: Chance): Promise<void> {
    await this.#model.change(chance, async instance => {
      const bytes = attachmentOf(instance, chance.between(1, 60_000))
      const { status } = await this.#ask('PUT', `/instances/${instance.id}/attachments/2000`, bytes)
      const digest = sha256(bytes)
      instance.attachment = new Set(status === 200 ? [digest] : [...instance.attachment, digest])
      if (status !== 200 && !isFailure(status)) this.#broken(`attaching to instance ${instance.id}: HTTP ${status}`)
    })
  }

  async readAttachment(chance: Chance): Promise<void> {
    await this.#model.read(chance, async instance => {
      const answer = await this.#ask('GET', `/instances/${instance.id}/attachments/2000/data`)
      this.#expect(instance, 'attachment', answer, ...instance.attachment)
    })
  }

  /** Metadata are only in Orthanc's database: they show whether instance and label still belong together. */
  async label(chance: Chance): Promise<void> {
    await this.#model.change(chance, async instance => {
      const path = `/instances/${instance.id}/metadata/3000`
      const was = await this.#ask('GET', path)
      const found = was.status === 200 ? was.body.toString() : undefined
      if (!isFailure(was.status) && !instance.metadata.has(found))
        this.#broken(`the metadata of instance ${instance.id} are ${found}`)
      const text = `label ${chance.between(0, 1e9)}`
      const { status } = await this.#ask('PUT', path, Buffer.from(text))
      instance.metadata = new Set(status === 200 ? [text] : [...instance.metadata, text])
    })
  }

  async locate(chance: Chance): Promise<void> {
    await this.#model.read(chance, async ({ id }) => {
      const { status, body } = await this.#ask('GET', `/instances/${id}/cloud-storage`)
      if (isFailure(status)) return
      const missing = status === 200 ? JSON.parse(body.toString()).Totals.Missing : `HTTP ${status}`
      if (missing !== 0) this.#broken(`where instance ${id} is: missing ${missing}`)
    })
  }

  async readSlowly(chance: Chance): Promise<void> {
    await this.#model.read(chance, async instance => {
      const { answer } = this.#dial('GET', `/instances/${instance.id}/file`)
      const was = this.#resetsNow()
      try {
        const parts: Buffer[] = []
        const { statusCode = 0, body } = await answer
        for await (const part of body) {
          parts.push(part)
          await sleep(chance.between(1, 20))
        }
        this.#count(statusCode)
        this.#expect(instance, 'file', { status: statusCode, body: Buffer.concat(parts) }, instance.digest)
      } catch (error) {
        this.#lost(was, `reading instance ${instance.id} slowly`, error)
      }
    })
  }

  /** A client that goes away in the middle of a download, or of an upload. */
  async walkAway(chance: Chance): Promise<void> {
    if (chance() < 0.5)
      return this.#model.read(chance, async ({ id }) => {
        const { sent, answer } = this.#dial('GET', `/instances/${id}/file`)
        await answer.then(({ body }) => body.once('data', () => sent.destroy()).resume()).catch(() => {})
        sent.destroy()
      })
    const instance = this.#model.fresh(chance)
    const bytes = bytesOf(instance)
    const { sent, answer } = this.#dial('POST', '/instances', bytes.byteLength)
    answer.catch(() => {})
    await new Promise<void>(resolve => {
      sent.once('close', () => resolve())
      sent.write(bytes.subarray(0, bytes.byteLength / 2), () => sent.destroy())
    })
    this.#model.doubt(instance, 'upload')
  }

  async remove(chance: Chance): Promise<void> {
    await this.#model.change(chance, async instance => {
      this.#model.drop(instance)
      const { status } = await this.#ask('DELETE', `/instances/${instance.id}`)
      if (isFailure(status)) this.#model.doubt(instance, 'removal')
      else if (status !== 200) this.#broken(`removing instance ${instance.id}: HTTP ${status}`)
    })
  }

  async move(chance: Chance): Promise<void> {
    await this.#model.read(chance, async ({ id }) => {
      const parent = await this.#ask('GET', `/instances/${id}/study`)
      if (parent.status !== 200) return
      const Resources = [JSON.parse(parent.body.toString()).ID]
      const what = { Resources, TargetStorage: chance.oneOf(MOVED_TO) }
      await this.#ask('POST', '/move-storage', Buffer.from(JSON.stringify(what)))
    })
  }

  async askStatus(): Promise<void> {
    await this.#ask('GET', '/cloud-storage/status')
  }

  /** Held against each of `digests`; `undefined` among them: there may be none. */
  #expect({ id }: Known, what: string, { status, body }: Answer, ...digests: (string | undefined)[]): void {
    if (isFailure(status)) return
    if (status === 404 && digests.includes(undefined)) return
    if (status !== 200) this.#broken(`the ${what} of instance ${id} was acknowledged, and now: HTTP ${status}`)
    else if (!digests.includes(sha256(body))) this.#broken(`the ${what} of instance ${id} has other bytes`)
  }

  async #ask(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: Uint8Array): Promise<Answer> {
    const was = this.#resetsNow()
    try {
      const answer = await this.#orthanc.request(method, path, body)
      this.#count(answer.status)
      return answer
    } catch (error) {
      this.#lost(was, `${method} ${path}`, error)
      return CUT_OFF
    }
  }

  #dial(method: string, path: string, length = 0) {
    const headers = length > 0 ? { 'content-length': length } : {}
    const sent = request(`${this.#orthanc.url}${path}`, { method, headers, agent: false })
    const answer = new Promise<{ statusCode: number | undefined; body: IncomingMessage }>((resolve, reject) => {
      sent.setTimeout(GIVE_UP_MS, () => sent.destroy(new Error('no answer')))
      sent.once('response', body => resolve({ statusCode: body.statusCode, body }))
      sent.on('error', reject)
    })
    if (length === 0) sent.end()
    return { sent, answer }
  }

  #count(status: number): void {
    if (status >= 500) this.counts.failures++
  }

  readonly #resetsNow = () => (this.resetting ? -1 : this.resets)

  /** Orthanc ends connections when it is reset, and never else. */
  #lost(was: number, what: string, error: unknown): void {
    if (was === this.resets && !this.resetting) this.#broken(`${what}: ${error}`)
    this.counts.cut++
  }

  #broken(line: string): void {
    if (this.counts.broken.length < 50) this.counts.broken.push(line)
  }
}
