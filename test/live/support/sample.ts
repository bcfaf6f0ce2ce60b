/** The sample configuration of the packages, edited as its first lines say. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const file = join(import.meta.dirname, '..', '..', '..', 'packaging', 'files', 'cloud-storage.json')

/** Takes the `//` away before a section and its lines, and fills in `values`. Lines of other options stay away. */
export function sampleWith(section: string, values: Readonly<Record<string, unknown>>): string {
  const sections = readFileSync(file, 'utf8').split('\n\n')
  return sections
    .map(text => {
      if (!text.includes(`// "${section}"`)) return text
      return text
        .split('\n')
        .map(line => (/^ {2}\/\/ {1,3}["}]/.test(line) ? line.replace('//', '  ') : line))
        .map(line => {
          const [, start = '', name = ''] = /^( *"(\w+)": )[^{]/.exec(line) ?? []
          const comma = /,( \/\/.*)?$/.test(line) ? ',' : ''
          return name in values ? `${start}${JSON.stringify(values[name])}${comma}` : line
        })
        .join('\n')
    })
    .join('\n\n')
}
