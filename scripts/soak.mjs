// npm run soak [-- OPTIONS]: sets up, builds, and lets Orthanc work for a long time while everything goes wrong.
// --help lists the options.
import { build } from './build.mjs'
import { CEPH_PACKAGES, ensureDebianPackages, foreground, node } from './setup.mjs'

ensureDebianPackages(CEPH_PACKAGES, { required: false })
await build()
process.exit(foreground(node(), ['test/soak/run.ts', ...process.argv.slice(2)]))
