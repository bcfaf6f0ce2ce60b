// npm run fuzz [-- OPTIONS] [TARGET...]: sets up, and looks for inputs that break what must hold. --help lists the options.
import { ensureNpmPackages, foreground, node } from './setup.mjs'

ensureNpmPackages()
process.exit(foreground(node(), ['test/fuzz/run.ts', ...process.argv.slice(2)]))
