/** A server as a child process of the tests. It has a free port, the tests wait for it, and it ends with them. */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
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

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (typeof address !== 'object' || address === null) throw new Error('no free port')
  return address.port
}
