/** The plugin's library for any Linux with glibc 2.28 or newer, whatever Linux it is made on. */
import { mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../harness/run.ts'
import type { Architecture } from './architectures.ts'
import { zig } from './zig.ts'

/** Of Debian 10, RHEL 8 and Ubuntu 18.10: the oldest that Node.js 24 runs on. */
export const GLIBC = '2.28'

export interface Library {
  /** Stripped. */
  readonly file: string
  /** Its symbols, for a debugger. */
  readonly symbols: string
}

export async function buildLibrary(
  root: string,
  folder: string,
  version: string,
  { machine }: Architecture,
): Promise<Library> {
  const headers = join(folder, 'include')
  mkdirSync(headers, { recursive: true })
  // Only Orthanc's header. What else is in /usr/include is of this machine's glibc.
  rmSync(join(headers, 'orthanc'), { force: true })
  symlinkSync('/usr/include/orthanc', join(headers, 'orthanc'))
  const whole = join(folder, 'whole.so')
  const compiler = `${await zig()} c++ -target ${machine}-linux-gnu.${GLIBC}`
  const places = `-isystem ${headers} -ffile-prefix-map=${join(root, 'plugin')}=. -ffile-prefix-map=${headers}=sdk`
  const options = [
    `CXX=${compiler} ${places}`,
    'GNU_FLAGS=',
    'GNU_LINK=-Wl,--build-id=sha1',
    `BUILD=${join(folder, 'objects')}`,
    `OUT=${whole}`,
    `VERSION=${version}`,
  ]
  await run('make', ['--silent', '-j2', '-C', join(root, 'plugin'), ...options])
  const file = join(folder, 'libOrthancCloudStorage.so')
  const symbols = `${file}.debug`
  await run('llvm-objcopy', ['--only-keep-debug', whole, symbols])
  await run('llvm-objcopy', ['--strip-all', `--add-gnu-debuglink=${symbols}`, whole, file])
  return { file, symbols }
}
