/** zig: a C++ compiler that links against the glibc of any year, for any machine. It comes as a package of PyPI. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cached } from '../harness/cached.ts'
import { run } from '../harness/run.ts'

const VERSION = '0.17.1'
/** Of the wheels for the machines that packages are made on. */
const HASHES = {
  x64: 'ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54',
}

/** The path of zig. */
export async function zig(): Promise<string> {
  const hash = HASHES[process.arch as keyof typeof HASHES]
  if (!hash) throw new Error(`packages are made on ${Object.keys(HASHES).join(', ')}, not on ${process.arch}`)
  const folder = await cached(`zig@${VERSION}`, async making => {
    const wanted = join(making, 'requirements.txt')
    writeFileSync(wanted, `ziglang==${VERSION} --hash=sha256:${hash}\n`)
    const pip = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary=:all:', '--require-hashes']
    await run('python3', [...pip, '--target', making, '-r', wanted])
  })
  return join(folder, 'ziglang', 'zig')
}
