import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** Runs a program to its end and returns what it printed. Rejects with its last words when it fails. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  try {
    const { stdout } = await execute(command, [...args], { ...options, maxBuffer: 64 * 1024 * 1024 })
    return stdout
  } catch (error) {
    const { stderr = '', stdout = '', message } = error as Error & { stderr?: string; stdout?: string }
    const words = `${stdout}${stderr}`.trim().split('\n').slice(-15).join('\n')
    throw new Error(`"${[command, ...args].join(' ')}" failed: ${words || message}`, { cause: error })
  }
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Milliseconds, after which the program is ended. */
  readonly timeout?: number
}
