/** The command line as tests run it. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
const built = join(root, 'dist', 'cli.mjs')

/**
 * What was built, which is what people get; the sources where nothing was, or before the last change (`npm run check`).
 */
export const program: readonly string[] = [
  process.execPath,
  isNewest(built) ? built : join(root, 'src', 'cli', 'main.ts'),
]

function isNewest(file: string): boolean {
  const time = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).every(
    name => statSync(join(root, 'src', name)).mtimeMs <= time,
  )
}
