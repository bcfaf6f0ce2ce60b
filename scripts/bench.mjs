// npm run bench [-- OPTIONS]: sets up, builds, measures, writes docs/benchmarks.md. --help lists the options.
import { build } from './build.mjs'
import { BENCH_PACKAGES, ensureDebianPackages, foreground, node } from './setup.mjs'

ensureDebianPackages(BENCH_PACKAGES, { required: false })
await build()
process.exit(foreground(node(), ['bench/run.ts', ...process.argv.slice(2)]))
