/** A server as a child process of the tests. It has a free port, the tests wait for it, and it ends with them. */
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { createServer, type ListenOptions, type Server } from 'node:net'
import { dirname } from 'node:path'
import { until } from './until.ts'

export interface Running {
  stop(): Promise<void>
}

/** `ready` is called until it resolves. `log`: a file for all output of the server. */
export async function startChild(
  command: string,
  args: readonly string[],
  { log, env = {}, ready }: { log: string; env?: Record<string, string>; ready: () => Promise<unknown> },
): Promise<Running> {
  mkdirSync(dirname(log), { recursive: true })
  const out = openSync(log, 'a')
  const child = spawn(command, args, { stdio: ['ignore', out, out], detached: true, env: { ...process.env, ...env } })
  closeSync(out)
  let ended: string | undefined
  const exited = new Promise<void>(resolve => {
    const end = (how: string) => {
      ended = how
      resolve()
    }
    child.once('error', error => end(error.message))
    child.once('exit', (code, signal) => end(`it ended with ${code ?? signal}`))
  })
  const kill = () => {
    try {
      if (child.pid) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // it has ended already
    }
  }
  process.once('exit', kill)
  const stop = async () => {
    process.off('exit', kill)
    kill()
    await exited
  }
  const works = () =>
    ready().then(
      () => true,
      () => ended !== undefined,
    )
  await until(command, works, 100).catch(error => {
    ended ??= String(error)
  })
  if (ended === undefined) return { stop }
  await stop()
  throw new Error(`${command} did not start (${ended}):\n${readFileSync(log, 'utf8').slice(-2000)}`)
}

/**
 * Below the ports that Linux gives to connections which go out: one of those could take the port before its server
 * does, or while its server is started again.
 */
const PORTS = { from: 15_000, to: 32_768 }

/** A port for one server, on all addresses. No other process of the tests gets it before this one has ended. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(PORTS.from, PORTS.to)
    const claim = await listening({ path: `\0orthanc-cloud-storage: port ${port}` }) // Linux frees it with this process
    const server = claim && (await listening({ port, host: '0.0.0.0' }))
    claim?.unref()
    if (!server) continue
    await new Promise(resolve => server.close(resolve))
    return port
  }
  throw new Error('no free port')
}

/** undefined: somebody else listens there. */
function listening(options: ListenOptions): Promise<Server | undefined> {
  const server = createServer()
  return new Promise(resolve => {
    server.once('error', () => resolve(undefined))
    server.listen(options, () => resolve(server))
  })
}
