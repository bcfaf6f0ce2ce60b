/** Debian's Chromium without a window; or a loud reason why there is none, as with the servers. */
import { existsSync } from 'node:fs'

export const CHROMIUM = '/usr/bin/chromium'

/** Root has no sandbox, as in containers. With the other options, it sends nothing to other hosts. */
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Undefined after a loud skip. With LIVE=required a missing browser is a failure. */
export function liveBrowser() {
  if (existsSync(CHROMIUM)) return launch
  const missing = `there is no ${CHROMIUM}; it is Debian's package chromium`
  if (process.env['LIVE'] === 'required') throw new Error(`LIVE=required, but ${missing}`)
  process.stderr.write(`\nSKIPPED: ${process.argv[1]}: ${missing}\n\n`)
  return undefined
}

async function launch() {
  const { chromium } = await import('playwright-core')
  return await chromium.launch({ executablePath: CHROMIUM, headless: true, args: ARGS })
}
