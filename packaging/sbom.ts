/** What is inside the packages, as CycloneDX: npm's own list, without what differs between two runs, and Node.js. */

import { run } from '../harness/run.ts'
import type { Release } from './deb.ts'

export async function softwareBill({ root, version, time }: Release, node: string): Promise<string> {
  const args = ['sbom', '--sbom-format=cyclonedx', '--omit=dev', '--omit=optional', '--package-lock-only']
  const { serialNumber: _random, ...bill } = JSON.parse(await run('npm', args, { cwd: root }))
  bill.metadata.timestamp = new Date(time * 1000).toISOString()
  bill.metadata.component.version = version
  bill.metadata.component.name = 'orthanc-cloud-storage' // npm takes the name of the folder
  bill.components.push({
    'bom-ref': `node@${node}`,
    type: 'application',
    name: 'node',
    version: node,
    purl: `pkg:generic/node@${node}`,
    licenses: [{ license: { id: 'MIT' } }],
  })
  return `${JSON.stringify(bill, undefined, 2)}\n`
}
