/** The script for Orthanc Explorer, as text: it runs in browsers, not here. */
import { readFileSync } from 'node:fs'

declare const EXPLORER: string | undefined

/** Filled in by the build, so that the engine stays one file; sources that run unbundled read it where it lies. */
export const explorer =
  typeof EXPLORER === 'string' ? EXPLORER : readFileSync(new URL('explorer.js', import.meta.url), 'utf8')
