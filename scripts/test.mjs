// npm test [-- FILE...]: sets up, builds, and runs everything: the plugin's own tests, unit tests, the conformance of
// every store, end to end in the real Orthanc. With LIVE=required, what this machine does not have is a failure.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { ensureDebianPackages, ensureNpmPackages, foreground, node, root, say, TEST_PACKAGES } from './setup.mjs'

ensureNpmPackages()
ensureDebianPackages(TEST_PACKAGES, { required: process.env.LIVE === 'required' })
await build()

// Each test file, each command and each engine is a process that loads the same sources: compiled once, not 500 times.
process.env.NODE_COMPILE_CACHE ??= join(root, 'build', 'compile-cache')

const files = process.argv.slice(2)
const all = readdirSync(join(root, 'test'), { recursive: true })
  .filter(name => name.endsWith('.test.ts'))
  .map(name => join('test', name))
  .sort()

const totals = { passed: 0, failed: 0, skipped: 0 }

if (files.length === 0) {
  say("\nThe plugin's own tests")
  const { stdout, status } = spawnSync('make', ['--silent', '-C', 'plugin', 'test'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  process.stdout.write(stdout)
  const [, passed = 0, failed = 0] = /(\d+) passed, (\d+) failed/.exec(stdout) ?? []
  totals.passed += Number(passed)
  totals.failed += Number(failed) || (status === 0 ? 0 : 1)
}

say('\nThe tests in TypeScript')
const summary = join(root, 'build', `test-summary.${process.pid}.tap`)
const exit = foreground(node(), [
  '--test',
  '--test-concurrency=3', // also with two cores: most of the time they wait for Orthanc to start and stop
  '--test-timeout=1800000', // no test depends on how fast the machine is; this ends a broken run
  '--test-global-setup=test/live/support/setup.ts',
  '--test-reporter=spec',
  '--test-reporter-destination=stdout',
  '--test-reporter=tap',
  `--test-reporter-destination=${summary}`,
  ...(files.length > 0 ? files : all),
])
const count = name => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(readFileSync(summary, 'utf8'))?.[1] ?? 0)
totals.passed += count('pass')
totals.failed += count('fail') + count('cancelled')
totals.skipped += count('skipped') + count('todo')
rmSync(summary)
if (exit !== 0 && totals.failed === 0) totals.failed = 1

say(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
process.exit(totals.failed === 0 ? 0 : 1)
