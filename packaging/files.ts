/** What a package installs, and where. The one place that knows. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

export interface PackagedFile {
  /** Where it is now. */
  readonly from: string
  /** Where it is installed. */
  readonly to: string
  readonly mode: 0o644 | 0o755
}

/** The engine, its Node.js and the command line. The plugin looks here, see plugin/files.cpp. */
export const HOME = '/usr/lib/orthanc-cloud-storage'
export const PLUGINS = '/usr/share/orthanc/plugins'
export const COMMAND = '/usr/bin/orthanc-cloud-storage'
export const SAMPLE = '/etc/orthanc/cloud-storage.json'
export const COMPLETION = '/usr/share/bash-completion/completions/orthanc-cloud-storage'
export const DOCUMENTATION = '/usr/share/doc/orthanc-cloud-storage'

/** Pages of docs/ for who changes the project. All others are for who runs it. */
const INTERNAL = ['decisions.md', 'protocol.md', 'reliability.md']

export interface Ingredients {
  /** The root of the repository, whose dist/ is built. */
  readonly root: string
  readonly library: string
  readonly node: string
}

export function installedFiles({ root, library, node }: Ingredients): readonly PackagedFile[] {
  const dist = (name: string) => join(root, 'dist', name)
  const own = (name: string) => join(root, 'packaging', 'files', name)
  const pages = readdirSync(join(root, 'docs')).filter(name => name.endsWith('.md') && !INTERNAL.includes(name))
  return [
    { from: library, to: `${PLUGINS}/libOrthancCloudStorage.so`, mode: 0o644 },
    { from: dist('engine.mjs'), to: `${HOME}/engine.mjs`, mode: 0o644 },
    { from: dist('cli.mjs'), to: `${HOME}/cli.mjs`, mode: 0o755 },
    { from: node, to: `${HOME}/node`, mode: 0o755 },
    { from: own('orthanc-cloud-storage'), to: COMMAND, mode: 0o755 },
    { from: own('completion.bash'), to: COMPLETION, mode: 0o644 },
    { from: own('cloud-storage.json'), to: SAMPLE, mode: 0o644 },
    ...[...pages, 'images/orthanc-explorer.png'].map(page => ({
      from: join(root, 'docs', page),
      to: `${DOCUMENTATION}/${page}`,
      mode: 0o644 as const,
    })),
  ]
}
