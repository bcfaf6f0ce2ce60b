/** THIRD-PARTY-NOTICES.txt has every package that is in our files; a package without a licence text is not built in. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { build } from 'esbuild'
// @ts-expect-error plain JavaScript, which runs before there are any packages
import { bundleOptions } from '../scripts/build.mjs'
// @ts-expect-error the same
import { notices } from '../scripts/notices.mjs'

const root = join(import.meta.dirname, '..')

describe('the notices', () => {
  it('name each package whose code esbuild has put into the engine or the command line', async () => {
    const { outputFiles = [], metafile } = await build({ ...bundleOptions('0.0.0'), write: false, metafile: true })
    const text: string = notices(Object.keys(metafile?.inputs ?? {}), root)
    // Not what the metafile says, but what esbuild writes above each module of the bundle itself.
    const code = outputFiles.filter(({ path }) => path.endsWith('.mjs')).map(file => file.text)
    const folders = code.flatMap(one =>
      [...one.matchAll(/^\s*\/\/ (.*node_modules\/(?:@[^/\n]+\/)?[^/\n]+)\/\S+$/gm)].map(([, folder]) => folder ?? ''),
    )
    const packages = new Set(folders)
    assert.ok(packages.size > 100, `only ${packages.size} packages`)
    for (const folder of packages) {
      const { name, version } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
      assert.ok(text.includes(`\n${name} ${version} (`), `${name} ${version}`)
    }
    assert.match(text, /Apache License\s+Version 2\.0/)
    assert.match(text, /Permission is hereby granted, free of charge/)
  })

  it('are not made when a package has no licence text', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-notices-'))
    try {
      const own = join(folder, 'node_modules', 'odd')
      mkdirSync(own, { recursive: true })
      writeFileSync(join(own, 'package.json'), '{"name": "odd", "version": "1.0.0", "license": "MIT"}')
      writeFileSync(join(own, 'README.md'), '# odd\n\n## License\n\nMIT\n')
      assert.throws(
        () => notices(['src/engine.ts', 'node_modules/odd/index.js'], folder),
        /the package odd 1\.0\.0 \(MIT\) is bundled, but has no licence text/,
      )
      writeFileSync(join(own, 'LICENSE.md'), 'Copyright somebody')
      assert.match(notices(['node_modules/odd/index.js'], folder), /\nodd 1\.0\.0 \(MIT\)\n-+\n\nCopyright somebody\n/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
