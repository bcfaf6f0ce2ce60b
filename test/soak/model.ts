/**
 * What Orthanc has acknowledged, and so must have. Of each file only its digest is kept: the bytes can be made again.
 */
import { makeImage } from '../../harness/dicom.ts'
import { type Chance, chanceOf } from '../support/chance.ts'

export interface Instance {
  readonly seed: number
  readonly rows: number
  readonly study: number
  /** Orthanc's id, once it is known. */
  id?: string
  digest?: string
  /** What one may find: more than one value after a change that failed. `undefined`: there is none. */
  attachment: ReadonlySet<string | undefined>
  metadata: ReadonlySet<string | undefined>
  /** Operations that need it to stay as it is; -1: somebody changes it. */
  users: number
  /** An upload or a removal of it failed, so it may be there or not. */
  doubtful?: 'upload' | 'removal'
}

const STUDY = 20
/** Rows and columns, and how often: 2 KB, 33 KB, 132 KB, 0.5 MB, 2 MB. */
const SIZES = [32, 32, 128, 128, 128, 128, 256, 256, 512, 1024]
/** 11.5 MB: in parts, where there are parts. */
const LARGE = 2400
const LARGE_ONE_IN = 150

/** Each file is another stretch of this noise, so that no two have the same pixels. */
const noise = Buffer.alloc(2 * LARGE * LARGE + 65_536)
{
  const chance = chanceOf(1)
  for (let at = 0; at < noise.length; at += 2) noise.writeUInt16LE(chance.between(0, 0xfff), at)
}

export const patientOf = (study: number) => `SOAK-${study}`

export function bytesOf({ seed, rows, study }: Instance): Buffer {
  const image = { seed, rows, columns: rows, study, patientId: patientOf(study) }
  const from = ((seed * 7919) % 32_768) * 2
  return makeImage(image, () => noise.subarray(from, from + rows * rows * 2))
}

export const attachmentOf = (instance: Instance, length: number): Buffer => {
  const from = ((instance.seed * 104_729 + length) % 32_768) * 2
  return noise.subarray(from, from + length)
}

export class Model {
  readonly there: Instance[] = []
  readonly doubtful: Instance[] = []
  #seeds = 0

  fresh(chance: Chance): Instance {
    const seed = ++this.#seeds
    const rows = chance() < 1 / LARGE_ONE_IN ? LARGE : chance.oneOf(SIZES)
    const none = new Set([undefined])
    return { seed, rows, study: 1 + Math.floor(seed / STUDY), attachment: none, metadata: none, users: 0 }
  }

  /** Runs `work` on an instance that is there and stays as it is meanwhile. */
  async read(chance: Chance, work: (instance: Instance & { id: string }) => Promise<void>): Promise<void> {
    const instance = this.#pick(chance, ({ users }) => users >= 0)
    if (!instance) return
    instance.users++
    await work(instance).finally(() => instance.users--)
  }

  /** Runs `work` on an instance that nobody else uses meanwhile. */
  async change(chance: Chance, work: (instance: Instance & { id: string }) => Promise<void>): Promise<void> {
    const instance = this.#pick(chance, ({ users }) => users === 0)
    if (!instance) return
    instance.users = -1
    await work(instance).finally(() => {
      instance.users = 0
    })
  }

  stored(instance: Instance): void {
    delete instance.doubtful
    this.there.push(instance)
  }

  /** Not to be used any more: it is gone, or nobody knows. */
  drop(instance: Instance): void {
    const at = this.there.indexOf(instance)
    const last = this.there.pop() as Instance
    if (last !== instance) this.there[at] = last
  }

  doubt(instance: Instance, why: 'upload' | 'removal'): void {
    instance.doubtful = why
    this.doubtful.push(instance)
  }

  #pick(chance: Chance, fits: (instance: Instance) => boolean): (Instance & { id: string }) | undefined {
    for (let tries = 0; tries < 20 && this.there.length > 0; tries++) {
      const instance = chance.oneOf(this.there)
      if (fits(instance)) return instance as Instance & { id: string }
    }
    return undefined
  }
}
