/** npm run fuzz: every claim with free seeds, for as long as the options say. `--help` lists the options. */
import { fork, spawn } from 'node:child_process'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import pLimit from 'p-limit'
import { fc } from '../support/property.ts'
import { keep } from './corpus.ts'
import type { News, Order } from './session.ts'
import { type Finding, targets } from './targets.ts'

const NATIVE = 'native'
/** So many targets at a time. */
const AT_ONCE = 2
/** A session that says nothing for so long does not end by itself. */
const SILENCE_MS = 20 * 60_000

interface Options {
  readonly minutes: number
  readonly claim?: string
  readonly seed?: number
  readonly path?: string
}

let findings = 0

const program = new Command('npm run fuzz --')
  .description('Throws inputs at the product that nobody thought of, and looks whether what must hold holds.')
  .argument('[TARGET...]', `what to test; all of them without one: ${[...targets, NATIVE].join(', ')}`)
  .option('--minutes <N>', 'how long, for each target', positive, 10)
  .option('--claim <SENTENCE>', 'only this claim of a target')
  .option('--seed <N>', 'replay: one round with this seed', Number)
  .option('--path <PATH>', 'replay: the one input of that round that broke it')
  .addHelpText('after', '\nExit code: 0 nothing was found, 1 something was, 2 the command was not understood.')
  .action(fuzz)

async function fuzz(wanted: readonly string[], options: Options): Promise<void> {
  const known = [...targets, NATIVE]
  const unknown = wanted.find(name => !known.includes(name))
  if (unknown !== undefined)
    return program.error(`there is no target '${unknown}': ${known.join(', ')}`, { exitCode: 2 })
  const chosen = wanted.length > 0 ? wanted : known
  const limit = pLimit(AT_ONCE)
  await Promise.all(chosen.map(target => limit(() => (target === NATIVE ? native(options) : session(target, options)))))
  say(findings === 0 ? '\nNothing was found.' : `\n${findings} found.`)
  process.exitCode = findings === 0 ? 0 : 1
}

/** Resolves when the target has had its time, whatever became of its process. */
function session(target: string, { minutes, claim, seed, path }: Options): Promise<void> {
  const order: Order = { target, ms: minutes * 60_000, claim, seed, path }
  const child = fork(join(import.meta.dirname, 'session.ts'), { serialization: 'advanced' })
  let current: Extract<News, { kind: 'round' }> | undefined
  let endless = false
  let whole = false
  const silence = setTimeout(() => {
    endless = true
    child.kill('SIGKILL')
  }, SILENCE_MS)
  child.send(order)
  child.on('message', message => {
    const news = message as News
    silence.refresh()
    if (news.kind === 'round') current = news
    else if (news.kind === 'claim') report(target, news)
    else whole = true
  })
  return new Promise(resolve => {
    child.on('exit', (code, signal) => {
      clearTimeout(silence)
      if (code === 0 && whole) return resolve()
      const error = endless ? 'it does not end' : `the process ended with ${signal ?? `exit code ${code}`}`
      const finding = { seed: current?.seed ?? 0, path: '', input: undefined, error }
      report(target, { claim: current?.claim ?? 'it can be loaded', inputs: 0, seconds: 0, finding })
      resolve()
    })
  })
}

/** The native half: its targets are built and run by its own Makefile, which keeps its own corpus. */
function native({ minutes }: Options): Promise<void> {
  say(`${NATIVE}: see what it prints`)
  const make = spawn('make', ['--silent', '-C', 'plugin', 'fuzz', `MINUTES=${minutes}`], { stdio: 'inherit' })
  return new Promise(resolve => {
    make.on('exit', code => {
      if (code !== 0) findings++
      say(`${NATIVE}: ${code === 0 ? 'nothing found' : 'FOUND, see above'}`)
      resolve()
    })
  })
}

function report(target: string, news: Omit<Extract<News, { kind: 'claim' }>, 'kind'>): void {
  const { claim, inputs, seconds, finding } = news
  const result = finding ? 'FOUND' : 'nothing found'
  say(`${target}: ${claim}: ${inputs} inputs in ${Math.round(seconds)} s, ${result}`)
  if (finding) tellFinding(target, claim, finding)
}

function tellFinding(target: string, claim: string, { seed, path, input, error }: Finding): void {
  findings++
  const replay = ['npm run fuzz --', target, '--claim', JSON.stringify(claim), '--seed', seed]
  if (path !== '') replay.push('--path', path)
  if (input !== undefined) {
    say(`  input: ${shortened(fc.stringify(input))}`)
    say(`  kept:  ${keep(target, claim, input)}`)
  }
  say(`  error: ${error.split('\n').join('\n         ')}`)
  say(`  again: ${replay.join(' ')}`)
}

const shortened = (text: string) =>
  text.length <= 2000 ? text : `${text.slice(0, 2000)} ... (${text.length} characters)`

function positive(text: string): number {
  const number = Number(text)
  if (number > 0) return number
  throw new InvalidArgumentError('It is not a number above 0.')
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

await program.parseAsync()
