// npm run format: rewrites what the formatters and the linter can correct.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensureNpmPackages, foreground, node, root } from './setup.mjs'

ensureNpmPackages()
foreground(node(), [join(root, 'node_modules', '.bin', 'biome'), 'check', '--write'])
foreground(node(), [join('scripts', 'pages.mjs'), '--write'])
const sources = ['plugin', 'plugin/test', 'plugin/fuzz'].flatMap(folder =>
  readdirSync(join(root, folder))
    .filter(name => /\.(cpp|h)$/.test(name))
    .map(name => join(folder, name)),
)
process.exit(foreground('clang-format-14', ['-i', ...sources]))
