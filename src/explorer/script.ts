/** The script for Orthanc Explorer, as text: it runs in browsers, not here. */
import { readFileSync } from 'node:fs'

declare const EXPLORER: string | undefined

/** The build fills it in, so that the engine stays one file. Sources that run unbundled read the script's own file. */
export const explorer =
  typeof EXPLORER === 'string' ? EXPLORER : readFileSync(new URL('explorer.js', import.meta.url), 'utf8')
