/**
 * The command line by golden transcripts: test/transcripts/*.txt. In a transcript
 *
 *     $ command        is given to sh, in an empty folder that the whole transcript shares
 *     > more of it
 *     text             is what it must print on stdout,
 *     ! text           on stderr,
 *     = 1              and its exit code, when it is not 0
 *
 * `#` begins a remark. TRANSCRIPTS=write renews them from the program's output: then read the difference.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { program } from './support/program.ts'

const folder = join(import.meta.dirname, 'transcripts')
const vectors = join(import.meta.dirname, 'vectors')

interface Step {
  readonly remarks: readonly string[]
  readonly command: string
  readonly expected: Said
}

interface Said {
  readonly stdout: string
  readonly stderr: string
  readonly exit: number
}

describe('the command line', () => {
  for (const file of readdirSync(folder).filter(name => name.endsWith('.txt')))
    it(file.replace('.txt', '').replaceAll('-', ' '), () => {
      const path = join(folder, file)
      const steps = stepsOf(readFileSync(path, 'utf8'))
      assert.ok(steps.length > 0)
      const place = makePlace()
      try {
        const said = steps.map(step => run(place, step.command))
        if (process.env['TRANSCRIPTS'] === 'write') return writeFileSync(path, textOf(steps, said))
        for (const [i, { command, expected }] of steps.entries())
          assert.deepEqual({ command, ...said[i] }, { command, ...expected })
      } finally {
        rmSync(place, { recursive: true, force: true })
      }
    })
})

/** A folder with the program on its PATH, the official plugin's vectors as files, and their keys. */
function makePlace(): string {
  const place = mkdtempSync(join(tmpdir(), 'ocs-transcript-'))
  for (const name of ['bin', 'tmp', 'work', 'work/vectors']) mkdirSync(join(place, name))
  const command = join(place, 'bin', 'orthanc-cloud-storage')
  writeFileSync(command, `#!/bin/sh\nexec ${program.map(word => `'${word}'`).join(' ')} "$@"\n`)
  chmodSync(command, 0o755)
  for (const { name, object, objectFile, masterKeyId, masterKey } of JSON.parse(
    readFileSync(join(vectors, 'a1.json'), 'utf8'),
  ).vectors) {
    const bytes = object ? Buffer.from(object, 'hex') : readFileSync(join(vectors, objectFile))
    writeFileSync(join(place, 'work', 'vectors', `${name}.enc`), bytes)
    writeFileSync(join(place, 'work', `key${masterKeyId}`), `${masterKey}\n`, { mode: 0o600 })
  }
  return place
}

function run(place: string, command: string): Said {
  const { stdout, stderr, status } = spawnSync('sh', ['-c', command], {
    cwd: join(place, 'work'),
    encoding: 'utf8',
    env: {
      ...process.env,
      PATH: `${join(place, 'bin')}:${process.env['PATH']}`,
      TMPDIR: join(place, 'tmp'),
      NO_COLOR: '1',
    },
    input: '',
  })
  const progress = /^orthanc-cloud-storage: \d+ %, .*\n/gm // a line for each ten seconds: there are some on a slow machine
  const took = /^took .*\n/gm
  const hide = (text: string) => text.replaceAll(place, 'PLACE').replace(progress, '').replace(took, '').trimEnd()
  return { stdout: hide(stdout), stderr: hide(stderr), exit: status ?? -1 }
}

function stepsOf(text: string): readonly Step[] {
  const steps: Step[] = []
  let remarks: string[] = []
  let lines: { command: string[]; stdout: string[]; stderr: string[]; exit: number } | undefined
  const finish = () => {
    if (!lines) return
    const expected = { stdout: lines.stdout.join('\n').trimEnd(), stderr: lines.stderr.join('\n'), exit: lines.exit }
    steps.push({ remarks, command: lines.command.join('\n'), expected })
    remarks = []
    lines = undefined
  }
  for (const line of text.split('\n')) {
    const rest = line.slice(2)
    if (line.startsWith('$ ')) {
      finish()
      lines = { command: [rest], stdout: [], stderr: [], exit: 0 }
    } else if (line.startsWith('#')) {
      finish()
      remarks.push(line)
    } else if (!lines) assert.equal(line, '')
    else if (line.startsWith('> ')) lines.command.push(rest)
    else if (line.startsWith('! ')) lines.stderr.push(rest)
    else if (line.startsWith('= ')) lines.exit = Number(rest)
    else lines.stdout.push(line)
  }
  finish()
  return steps
}

function textOf(steps: readonly Step[], said: readonly Said[]): string {
  const marked = (mark: string, text: string) => (text === '' ? [] : text.split('\n').map(line => `${mark}${line}`))
  const blocks = steps.map(({ remarks, command }, i) => {
    const { stdout, stderr, exit } = said[i] as Said
    const [first, ...more] = command.split('\n')
    return [
      ...remarks,
      `$ ${first}`,
      ...more.map(line => `> ${line}`),
      ...marked('', stdout),
      ...marked('! ', stderr),
      ...(exit === 0 ? [] : [`= ${exit}`]),
    ].join('\n')
  })
  return `${blocks.join('\n\n')}\n`
}
