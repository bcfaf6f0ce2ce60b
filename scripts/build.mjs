// npm run build: the plugin and its engine, the command line, and the licences of what is in them, all in dist/.
// It does nothing when nothing has changed.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { notices } from './notices.mjs'
import { BUILD_PACKAGES, ensureDebianPackages, ensureNpmPackages, root, say } from './setup.mjs'

const NOTICES = 'THIRD-PARTY-NOTICES.txt'
const OUTPUTS = ['libOrthancCloudStorage.so', 'engine.mjs', 'cli.mjs', NOTICES].map(name => join(root, 'dist', name))

// The first code of the bundle, on any Node.js. Only imports of built-in modules are hoisted above it.
const BANNER = `import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
{
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 22 || (major === 22 && minor < 13)) {
    const whose = import.meta.url.endsWith('/cli.mjs') ? '' : ' Orthanc uses the one that CloudStorage.Node names.';
    console.error('orthanc-cloud-storage needs Node.js 22.13 or newer, but ' + process.execPath + ' is ' + process.versions.node + '. Install a newer Node.js.' + whose);
    process.exit(78);
  }
}`

export async function build() {
  ensureNpmPackages()
  ensureDebianPackages(BUILD_PACKAGES)
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const stamp = join(root, 'build', 'stamp')
  const wanted = fingerprint()
  if (OUTPUTS.every(existsSync) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  say('Building ...')
  await Promise.all([bundle(version), make(version)])
  mkdirSync(join(root, 'build'), { recursive: true })
  writeFileSync(stamp, wanted)
}

async function bundle(version) {
  const { build } = await import('esbuild')
  const { metafile } = await build(bundleOptions(version))
  writeFileSync(join(root, 'dist', NOTICES), notices(Object.keys(metafile.inputs), root))
}

/** The options for esbuild. */
export function bundleOptions(version) {
  const entry = name => ({ [name]: join(root, 'src', name === 'cli' ? 'cli/main.ts' : `${name}.ts`) })
  const explorer = readFileSync(join(root, 'src', 'explorer', 'explorer.js'), 'utf8')
  return {
    absWorkingDir: root,
    metafile: true,
    preserveSymlinks: true, // paths of packages are in the bundles, and the same wherever node_modules really is
    entryPoints: { ...entry('engine'), ...entry('cli') },
    outdir: join(root, 'dist'),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node22.13',
    mainFields: ['module', 'main'],
    sourcemap: 'linked',
    legalComments: 'none', // licences are in the notices, all of them, whole
    banner: { js: BANNER },
    define: { VERSION: JSON.stringify(version), EXPLORER: JSON.stringify(explorer) },
    logLevel: 'warning',
  }
}

function make(version) {
  return new Promise((resolve, reject) => {
    const args = ['--silent', '-j2', '-C', join(root, 'plugin'), `VERSION=${version}`]
    const child = spawn('make', args, { stdio: 'inherit' })
    child.on('error', reject)
    child.on('exit', code => (code === 0 ? resolve() : reject(new Error(`make ended with ${code}`))))
  })
}

/** Changes with every file that the build reads. */
function fingerprint() {
  const hash = createHash('sha256')
  const add = path => {
    const stat = statSync(path)
    if (stat.isDirectory()) for (const name of readdirSync(path).sort()) add(join(path, name))
    else hash.update(path).update(readFileSync(path))
  }
  for (const name of ['src', 'plugin', 'package.json', 'package-lock.json', 'scripts/build.mjs', 'scripts/notices.mjs'])
    add(join(root, name))
  return hash.digest('hex')
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  await build().catch(error => {
    process.stderr.write(`the build failed: ${error.message}\n`)
    process.exit(1)
  })
