/** Each provider over servers in memory: what test/live asks real ones. */
import { after, before, describe } from 'node:test'
import { testAborts } from './support/aborts.suite.ts'
import { type Cloud, type CloudOptions, type Provider, providers, startCloud } from './support/clouds.ts'

const transfer = { concurrency: 2, partBytes: 5 * 1024 * 1024 }
const kinds: readonly (readonly [string, Provider, CloudOptions])[] = [
  ...providers.map(provider => [provider, provider, {}] as const),
  ['s3 with the transfer manager', 's3', { s3: { transfer } }],
]

for (const [name, provider, options] of kinds)
  describe(name, () => {
    let cloud: Cloud
    before(async () => {
      cloud = await startCloud(provider, options)
    })
    after(() => cloud.close())
    testAborts(() => cloud.store)
  })
