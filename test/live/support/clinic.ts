/** A site that uses the packages: its machine, the Orthanc that runs there, and what must be readable for ever. */
import assert from 'node:assert/strict'
import { makeImage } from '../../../harness/dicom.ts'
import { Newcomer } from '../../../harness/newcomer.ts'
import type { OrthancProcess } from '../../../harness/orthanc.ts'
import type { DebianRelease } from '../../../harness/trees.ts'
import { SAMPLE } from '../../../packaging/files.ts'
import { sampleWith } from './sample.ts'

export class Clinic {
  readonly machine: Newcomer
  #running: OrthancProcess | undefined
  readonly #stored = new Map<string, Buffer>()
  #seed = 0

  private constructor(machine: Newcomer) {
    this.machine = machine
  }

  static async open(release: DebianRelease, folder: string): Promise<Clinic> {
    return new Clinic(await Newcomer.arrive(release, folder))
  }

  async close(): Promise<void> {
    await this.stop()
    this.machine.leave()
  }

  /** Edits the sample, and asks the command line what it thinks of that. */
  async configure(section: string, values: Readonly<Record<string, unknown>> = {}): Promise<string> {
    this.machine.edit(SAMPLE, () => sampleWith(section, values))
    return await this.machine.run('orthanc-cloud-storage check /etc/orthanc', { user: 'orthanc' })
  }

  get orthanc(): OrthancProcess {
    assert.ok(this.#running)
    return this.#running
  }

  async start(): Promise<OrthancProcess> {
    this.#running = await this.machine.startOrthanc()
    return this.#running
  }

  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.stop()
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Stores one more image, and reads all of them. */
  async work(): Promise<void> {
    const seed = ++this.#seed
    const image = makeImage({ seed, rows: 64, columns: 64, study: seed })
    this.#stored.set((await this.orthanc.postJson('/instances', image)).ID, image)
    await this.readAll()
  }

  async readAll(): Promise<void> {
    for (const [id, image] of this.#stored)
      assert.deepEqual(await this.orthanc.getBytes(`/instances/${id}/file`), image)
  }

  /** For another store: Orthanc looks for these files in vain. */
  forget(): void {
    this.#stored.clear()
  }
}
