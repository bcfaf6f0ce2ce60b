// THIRD-PARTY-NOTICES.txt: the licence texts of every package that esbuild has put into our files, as their licences
// demand.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Names of files in a package: its licence, and the notice that must be kept under Apache-2.0. */
const TEXTS = /^(licen[cs]e|copying|notice)([.-][\w.-]+)?$/i

/**
 * Packages that name their licence but do not bring its text: where the text is instead, and why that one. A person has
 * looked at each.
 */
const AWS = {
  package: '@aws-sdk/credential-providers',
  why: 'The text is that of another package of the same repository',
}
const ELSEWHERE = {
  '@aws-sdk/credential-provider-http': AWS,
  '@aws-sdk/credential-provider-login': AWS,
  '@aws-sdk/nested-clients': AWS,
  '@nodable/entities': {
    package: 'fast-xml-parser',
    why: 'Its author, Amit Gupta, has published no text for it. The text is that of another package of his under the same licence',
  },
}

const HEAD = `engine.mjs and cli.mjs contain the packages below. Each is under the licence that follows its name.
orthanc-cloud-storage itself is under GPL-3.0-or-later.
`

/**
 * `inputs`: the paths of bundled files, as in esbuild's metafile; `root`: where they begin. Throws when a package has
 * no licence text: such a package may not be shipped before a person has looked at it.
 */
export function notices(inputs, root) {
  const parts = bundledPackages(inputs).map(folder => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
    const text = textIn(join(root, folder)) ?? elsewhere(name, root)
    if (text === undefined)
      throw new Error(`the package ${name} ${version} (${license}) is bundled, but has no licence text in ${folder}`)
    return { title: `${name} ${version} (${license})`, text }
  })
  // Most packages of one maker have the same text. It is there once, below all their names.
  // (A Map by hand: Node.js 18, on which this may run, has no Map.groupBy.)
  const titles = new Map()
  for (const { title, text } of parts) titles.set(text, new Set(titles.get(text)).add(title))
  const groups = [...titles].map(([text, names]) => [[...names].sort(), text])
  groups.sort(([a], [b]) => (a[0] < b[0] ? -1 : 1))
  const line = '-'.repeat(80)
  return [HEAD, ...groups.map(([names, text]) => `${line}\n${names.join('\n')}\n${line}\n\n${text}\n`)].join('\n')
}

/** From files that have only a licence, else from the end of the README. */
function textIn(folder) {
  const names = readdirSync(folder, { withFileTypes: true }).flatMap(entry => (entry.isFile() ? [entry.name] : []))
  const texts = names.filter(name => TEXTS.test(name)).map(name => readFileSync(join(folder, name), 'utf8').trim())
  if (texts.length > 0) return texts.join('\n\n')
  const readme = names.find(name => /^readme\.md$/i.test(name))
  const [text] =
    (readme &&
      /(?:\(The MIT License\)|^The MIT License \(MIT\)$|^Copyright .*\n\nPermission is hereby)[\s\S]*?SOFTWARE\.$/m.exec(
        readFileSync(join(folder, readme), 'utf8'),
      )) ||
    []
  return text
}

function elsewhere(name, root) {
  const { package: other, why } = ELSEWHERE[name] ?? {}
  const text = other && textIn(join(root, 'node_modules', other))
  return text && `(${why}, ${other}.)\n\n${text}`
}

/** The folders of the packages that these files belong to. A package may be there in two versions. */
export function bundledPackages(inputs) {
  const folders = inputs.map(path => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
  return [...new Set(folders.filter(folder => folder !== undefined))].sort()
}
