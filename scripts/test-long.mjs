// npm run test:long [-- --minutes N]: everything, in some two hours: every test in its long form, the plugin under the
// sanitizers, each target of the fuzzer for N minutes (10), the soak for one and a half times as long.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from './build.mjs'
import { ensureDebianPackages, foreground, LONG_PACKAGES, node, root, say } from './setup.mjs'

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } })
const minutes = Number(values.minutes)
if (!(minutes > 0)) {
  say('--minutes takes a number above 0')
  process.exit(2)
}
process.env.LIVE ??= 'required'

ensureDebianPackages(LONG_PACKAGES)
await build() // the steps need the Node.js that it installs

const script = (name, ...args) => [node(), [join(root, 'scripts', name), ...args]]
/** What an Orthanc of another version could break: every callback, route and job, and an engine that is killed. */
const CORE = ['end-to-end', 'encryption', 'hybrid', 'moves', 'services', 'lifecycle', 'refusal', 'isolation']
const onRelease = release => [
  'env',
  [`ORTHANC_RELEASE=${release}`, ...script('test.mjs', ...CORE.map(liveTest)).flat()],
]
const liveTest = name => join('test', 'live', `${name}.test.ts`)

const steps = {
  'The plugin under AddressSanitizer and UndefinedBehaviorSanitizer': ['make', ['--silent', '-C', 'plugin', 'asan']],
  'The plugin under ThreadSanitizer': ['make', ['--silent', '-C', 'plugin', 'tsan']],
  'All tests, in their long form': script('test.mjs'),
  'The core, on Orthanc 1.12 of Debian 13': onRelease('trixie'),
  'The core, on Orthanc 1.13 of Debian 14': onRelease('forky'),
  'The fuzzer': script('fuzz.mjs', '--minutes', String(minutes)),
  'The soak': script('soak.mjs', '--minutes', String(minutes * 1.5)),
}

const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout?.trim()
const results = []
let failed = false
for (const [name, [command, args]] of Object.entries(steps)) {
  say(`\n=== ${name}`)
  const start = Date.now()
  const code = foreground(command, args, { env: { ...process.env, LONG: '1' } })
  failed ||= code !== 0
  const took = `${((Date.now() - start) / 60_000).toFixed(1)} min`
  results.push(`${code === 0 ? 'passed' : 'FAILED'}  ${took.padStart(8)}  ${name}`)
}
const dirty = git('status', '--porcelain') ? ', with changes that are not committed' : ''
say(`\n=== test:long, ${new Date().toISOString().slice(0, 10)}, commit ${git('rev-parse', '--short', 'HEAD')}${dirty}`)
for (const line of results) say(line)
process.exit(failed ? 1 : 0)
