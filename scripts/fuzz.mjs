// npm run fuzz [-- OPTIONS] [TARGET...]: sets up, and looks for inputs that break a claim. --help lists the options.
import { BUILD_PACKAGES, ensureDebianPackages, ensureNpmPackages, foreground, node } from './setup.mjs'

ensureNpmPackages()
ensureDebianPackages([...BUILD_PACKAGES, 'clang-14', 'libclang-rt-14-dev'], { required: false })
process.exit(foreground(node(), ['test/fuzz/run.ts', ...process.argv.slice(2)]))
