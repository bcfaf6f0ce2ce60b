// Looks for known vulnerabilities of what is shipped, in npm's advisories: one that is high or critical is a failure.
// A registry that does not answer finds nothing, and proves nothing either. So there is a loud line, and with
// AUDIT=required (for a release) it is a failure. Not otherwise: mirrors and machines without a network have no
// advisories, and a change must be able to land there.
import { spawnSync } from 'node:child_process'
import { root, say, stop } from './setup.mjs'

const options = ['--omit=dev', '--package-lock-only', '--json', '--fetch-retries=1', '--fetch-timeout=30000']
const { stdout, error } = spawnSync('npm', ['audit', ...options], { cwd: root, encoding: 'utf8' })
const answer = parsed(stdout)
const counts = answer?.metadata?.vulnerabilities

if (!counts) {
  const why = answer?.message ?? error?.message ?? 'npm gave no answer'
  const line = `NOT AUDITED: the registry has no advisories, so nobody knows whether dependencies have known vulnerabilities: ${why}`
  if (process.env.AUDIT === 'required') stop(line)
  process.stderr.write(`\n${line}\n\n`)
  process.exit(0)
}
for (const { name, severity, via, range, fixAvailable } of Object.values(answer.vulnerabilities)) {
  const titles = via.map(one => (typeof one === 'string' ? `by ${one}` : `${one.title} (${one.url})`)).join('; ')
  say(`${severity}: ${name} ${range}: ${titles}${fixAvailable ? '' : ', without a fix'}`)
}
if (counts.high + counts.critical > 0)
  stop('Dependencies have known vulnerabilities that are high or critical: update them, as said above.')
say(`No known vulnerability that is high or critical; ${counts.low + counts.moderate} lower.`)

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
