/** What a test has opened: it is closed after the test, the last one first. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach } from 'node:test'
import { type Cloud, type CloudOptions, type Provider, startCloud } from './clouds.ts'

export const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

/** Returns the port on 127.0.0.1. */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  undo.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

export async function cloudOfTest(provider: Provider, options?: CloudOptions): Promise<Cloud> {
  const cloud = await startCloud(provider, options)
  undo.push(() => cloud.close())
  return cloud
}
