// npm run package [-- ARCHITECTURE...]: sets up, builds, and makes the packages that a site installs.
import { build } from './build.mjs'
import { ensureDebianPackages, foreground, node } from './setup.mjs'

ensureDebianPackages(['dpkg', 'llvm', 'make', 'orthanc-dev', 'python3-pip'])
await build()
process.exit(foreground(node(), ['packaging/package.ts', ...process.argv.slice(2)]))
