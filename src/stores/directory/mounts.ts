import { readFile } from 'node:fs/promises'

/** What this machine says of its mounts. In a container, /etc/fstab is absent or empty; then nothing is known. */
async function textOf(file: string): Promise<string> {
  return await readFile(file, 'utf8').catch(() => '')
}

/** Both files write characters that would end a field as octal numbers. */
const unescaped = (field: string) =>
  field.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)))

const fieldOf = (text: string, index: number) =>
  text
    .split('\n')
    .filter(line => !line.trimStart().startsWith('#'))
    .map(line => unescaped(line.trim().split(/\s+/)[index] ?? '').replace(/(.)\/+$/, '$1'))

/** The mount point nearest above `path`, or `path` itself, that is meant to be mounted and is not. */
export async function unmountedAbove(path: string, read = textOf): Promise<string | undefined> {
  const points = fieldOf(await read('/etc/fstab'), 1).filter(point => point.startsWith('/') && point !== '/')
  const above = points.filter(point => path === point || path.startsWith(`${point}/`))
  if (above.length === 0) return undefined
  const mounted = new Set(fieldOf(await read('/proc/self/mountinfo'), 4))
  if (mounted.size < 2) return undefined // no /proc: nothing is known
  return above.filter(point => !mounted.has(point)).sort((a, b) => b.length - a.length)[0]
}
