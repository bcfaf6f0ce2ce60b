// Pages have lines of one width: Prettier wraps them. Tables stay as they are: Prettier would pad every row to the
// longest.
//     node scripts/pages.mjs           names the pages with other lines, and fails
//     node scripts/pages.mjs --write   wraps them
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { format } from 'prettier'
import { root, say } from './setup.mjs'

const FOLDERS = ['.', 'docs', '.github']
const OPTIONS = { parser: 'markdown', proseWrap: 'always', printWidth: 120 }

/** A table: lines that follow each other. */
const TABLE = /^( *)\|.*\|\n(?:\1\|.*\|(?:\n|$))+/gm

export async function wrapped(text) {
  const tables = []
  const held = text.replace(TABLE, (table, indent) => `${indent}<!-- table ${tables.push(table) - 1} -->\n`)
  const page = await format(held, OPTIONS)
  return page.replace(/^ *<!-- table (\d+) -->\n/gm, (_, n) => tables[n])
}

const pages = FOLDERS.flatMap(folder =>
  existsSync(join(root, folder)) ? readdirSync(join(root, folder)).map(name => join(folder, name)) : [],
).filter(page => page.endsWith('.md'))

async function main(write) {
  const wrong = []
  for (const page of pages) {
    const text = readFileSync(join(root, page), 'utf8')
    const right = await wrapped(text)
    if (right === text) continue
    wrong.push(page)
    if (write) writeFileSync(join(root, page), right)
  }
  if (wrong.length === 0) return 0
  say(write ? `Wrapped: ${wrong.join(', ')}` : `Not wrapped as npm run format does it: ${wrong.join(', ')}`)
  return write ? 0 : 1
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) process.exit(await main(process.argv.includes('--write')))
