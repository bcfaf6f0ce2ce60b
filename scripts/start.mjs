// npm start: sets up, builds, and shows Orthanc at work on an object store. The rest is in demo.ts: it is TypeScript,
// for which this Node.js may be too old.
import { spawn } from 'node:child_process'
import { build } from './build.mjs'
import { CEPH_PACKAGES, CLUSTER_PACKAGES, ensureDebianPackages, node, root } from './setup.mjs'

const args = process.argv.slice(2)
await build().catch(error => {
  process.stderr.write(`the build failed: ${error.message}\n`)
  process.exit(1)
})
if (args.some((arg, i) => arg === '--store=s3' || (arg === '--store' && args[i + 1] === 's3')))
  ensureDebianPackages(CEPH_PACKAGES)
if (args.includes('--cluster')) ensureDebianPackages(CLUSTER_PACKAGES)

const child = spawn(node(), ['scripts/demo.ts', ...args], { cwd: root, stdio: 'inherit' })
// Ctrl-C reaches the whole process group: the demonstration ends by itself, and then this process does.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => signal !== 'SIGINT' && child.kill(signal))
child.on('exit', code => process.exit(code ?? 1))
