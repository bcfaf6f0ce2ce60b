// npm run package [-- ARCHITECTURE...]: sets up, builds, and makes the packages that a site installs.
import { build } from './build.mjs'
import { ensureDebianPackages, foreground, node, PACKAGING_PACKAGES } from './setup.mjs'

ensureDebianPackages(PACKAGING_PACKAGES)
await build()
process.exit(foreground(node(), ['packaging/package.ts', ...process.argv.slice(2)]))
