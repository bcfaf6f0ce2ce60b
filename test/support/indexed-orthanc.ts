/** As much of Orthanc's REST API as its index can be read through, in memory, with a hook before each answer. */
import { Fault, isObject } from '../../src/fault.ts'
import type { Json } from '../../src/orthanc.ts'
import type { Indexed } from '../../src/orthanc-index/orthanc-index.ts'
import { FakeOrthanc } from './fake-orthanc.ts'

export class IndexedOrthanc extends FakeOrthanc {
  /** As Orthanc's own option; 0 = no limit. */
  limitFind = 0
  /** Runs before the answer to this question is made: it may change what there is. */
  beforeAnswer: (uri: string) => unknown = () => {}
  /** In place of Orthanc's answer; `null` stands for a 404. */
  instead: (uri: string) => Json | undefined = () => undefined
  underWay = 0
  mostUnderWay = 0

  constructor(version: string) {
    super()
    this.system = { Version: version, DatabaseVersion: 6 }
  }

  /** All that the index has, as it must be read. */
  rows(): Indexed[] {
    return this.files().map(({ uuid, type, size }) => ({
      uuid,
      type: type === 1 ? 'dicom' : 'unknown',
      size,
      md5: undefined,
    }))
  }

  override async get(uri: string): Promise<Json | undefined> {
    return await this.#answered(uri, async () => (uri === '/patients' ? this.idsOf('patients') : await super.get(uri)))
  }

  override async post(uri = '', question: Json = null): Promise<Json> {
    const answer = await this.#answered(uri, async () => this.#find(question))
    if (answer === undefined) throw new Fault('NotFound', 'no such resource')
    return answer
  }

  async #answered(uri: string, answer: () => Promise<Json | undefined>): Promise<Json | undefined> {
    this.underWay++
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay)
    try {
      await this.beforeAnswer(uri)
      const other = this.instead(uri)
      return other === undefined ? await answer() : (other ?? undefined)
    } finally {
      this.underWay--
    }
  }

  #find(question: Json): Json | undefined {
    this.asked.push('/tools/find')
    const { Since, Limit, ParentSeries } = isObject(question) ? question : {}
    const [since, limit] = [Number(Since), Number(Limit)]
    const series = this.resources.get(String(ParentSeries))
    if (!series) return undefined
    const most = this.limitFind > 0 ? Math.min(limit, this.limitFind) : limit
    return series.children.slice(since, since + most).map(id => ({
      ID: id,
      Attachments: [...(this.resources.get(id)?.files.values() ?? [])].map(({ uuid, type, size }) => ({
        ...{ Uuid: uuid, ContentType: type, CompressedSize: size, CompressedMD5: '' },
      })),
    }))
  }
}
