// npm run check: the short loop, without servers: format, lint, spelling, types and the unit tests.
// `--static` leaves the tests out.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensureNpmPackages, foreground, node, root, say } from './setup.mjs'

ensureNpmPackages()
const step = (name, command, args) => {
  say(`\n${name}`)
  const code = foreground(command, args)
  if (code !== 0) process.exit(code)
}
const bin = name => join(root, 'node_modules', '.bin', name)

step('Format and lint', node(), [bin('biome'), 'ci', '--error-on-warnings'])
step('Pages', node(), [join('scripts', 'pages.mjs')])
// Texts and comments; words of this project are in .ci/words.txt.
step('Spelling', node(), [bin('cspell'), 'lint', '--no-progress', '--no-summary', '--dot'])
step('Types', node(), [bin('tsc')])
if (!process.argv.includes('--static')) {
  const tests = readdirSync(join(root, 'test'))
    .filter(name => name.endsWith('.test.ts'))
    .map(name => join('test', name))
  step('Unit tests', node(), ['--test', '--test-reporter=dot', ...tests])
}
