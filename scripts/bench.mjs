// npm run bench [-- OPTIONS]: sets up, builds, measures, writes docs/benchmarks.md. --help lists the options.
import { build } from './build.mjs'
import { CEPH_PACKAGES, ensureDebianPackages, foreground, node } from './setup.mjs'

ensureDebianPackages(CEPH_PACKAGES, { required: false })
await build()
process.exit(foreground(node(), ['bench/run.ts', ...process.argv.slice(2)]))
