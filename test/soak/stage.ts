/** A real Orthanc with the engine as it is shipped, its store behind a network that does harm. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { type Decide, FaultProxy, MISHAP_KINDS, mishaps } from '../live/support/fault-proxy.ts'
import type { Place } from '../live/support/places.ts'
import { PROBE } from './vitals.ts'

export interface StageOptions {
  readonly place: Place
  /** Scheme, host and port of the server; without, there is no network, and a folder to be taken away in its place. */
  readonly origin?: string
  readonly encrypted: boolean
  readonly hybrid: boolean
}

export interface Stage {
  readonly orthanc: OrthancProcess
  readonly place: Place
  readonly hybrid: boolean
  readonly proxy: FaultProxy | undefined
  readonly folder: string
  /** Of `Vitals.probe`. */
  readonly probe: string
  /** Orthanc's own files, in a hybrid mode. */
  onDisk(): string[]
  close(keep: boolean): Promise<void>
}

export async function setStage({ place, origin, encrypted, hybrid }: StageOptions): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-soak-'))
  const file = (name: string, text: string, mode = 0o600) => {
    writeFileSync(join(folder, name), text)
    chmodSync(join(folder, name), mode)
    return join(folder, name)
  }
  mkdirSync(join(folder, 'temporary'))
  const proxy = origin ? new FaultProxy(origin) : undefined
  const probe = join(folder, 'probe.json')
  const loaded = file('probe.mjs', PROBE)
  const start = `SOAK_PROBE='${probe}' exec '${process.execPath}' --expose-gc --import '${loaded}' "$@"`
  const [[name, section] = ['', {}]] = Object.entries(place.config)
  const options = {
    ...section,
    ...(hybrid && { HybridMode: 'WriteToObjectStorage' }),
    ...(encrypted && {
      StorageEncryption: { MasterKey: [1, file('key', Buffer.alloc(32, 7).toString('base64'))] },
    }),
  }
  const near = proxy && (await proxy.open())
  const sections = JSON.stringify({ [name]: options })
  const orthanc = await startOrthanc({
    config: {
      ...JSON.parse(near ? sections.replaceAll(origin as string, near) : sections),
      TemporaryDirectory: join(folder, 'temporary'),
      CloudStorage: { Node: file('node', `#!/bin/sh\n${start}\n`, 0o700) },
    },
    dir: folder,
    verbose: false,
  })
  return {
    orthanc,
    place,
    hybrid,
    proxy,
    folder,
    probe,
    onDisk: () =>
      readdirSync(join(folder, 'index'), { recursive: true, encoding: 'utf8' }).filter(path => /^..\/..\/./.test(path)),
    async close(keep) {
      await orthanc.stop()
      await proxy?.close()
      if (!keep) rmSync(folder, { recursive: true, force: true })
    },
  }
}

/**
 * A share of all exchanges comes to harm. Plain objects that are asked for in parts cannot be compared
 * (docs/reliability.md, "What cannot be compared"), so there no byte of an answer is flipped.
 */
export function harm(seed: number, share: number, encrypted: boolean): Decide {
  const any = mishaps(seed, share)
  const noFlips = mishaps(
    seed + 1,
    share,
    MISHAP_KINDS.filter(kind => kind !== 'flip response'),
  )
  return exchange => {
    const inParts = exchange.headers.has('range') || exchange.headers.has('x-ms-range')
    return (inParts && !encrypted ? noFlips : any)(exchange)
  }
}
