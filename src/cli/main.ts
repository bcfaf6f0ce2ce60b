#!/usr/bin/env node
import './process.ts'
import { existsSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { Fault } from '../fault.ts'
import { ensureHome } from '../home.ts'
import { noDebugger } from '../no-debugger.ts'
import { version } from '../version.ts'
import { CONFIG, concurrency, rateLimitOption, several } from './arguments.ts'
import { check } from './check.ts'
import { copyCommand } from './copy-command.ts'
import { decrypt } from './decrypt.ts'
import { deletions } from './deletions.ts'
import { encrypt } from './encrypt.ts'
import { importCommand } from './import-command.ts'
import { inspect } from './inspect.ts'
import { keyId, keyOption } from './key-option.ts'
import { keygen } from './keygen.ts'
import { queueOption } from './queue-option.ts'
import { rotateKeys } from './rotate-keys.ts'
import { runsCommand } from './runs-command.ts'
import { fail, sayJson } from './terminal.ts'
import { usageCommand } from './usage-command.ts'
import { verifyCommand } from './verify-command.ts'

/**
 * Exit codes: 0 done, 1 it failed, 2 the command line was wrong; 78 comes from the bundle's first lines. Of `verify`,
 * `copy`, `import`, `usage` and `rotate-keys`, 1 means that something was found or could not be read, and 3 that the
 * command failed.
 */
const program = new Command('orthanc-cloud-storage')
  .description('Works on the object storage of an Orthanc server, from outside Orthanc.')
  .version(version)
  .helpCommand(false)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(oneLine(text)) })
  .addHelpText(
    'after',
    `
Exit code: 0 done, 1 it failed, 2 the command was not understood, 78 this Node.js is too old.
"orthanc-cloud-storage COMMAND --help" says more about one command.`,
  )

program
  .command('check')
  .description("Read Orthanc's configuration as the plugin does, and check that the store can be used.")
  .argument('<PATH...>', "Orthanc's configuration: files (JSON, comments allowed) or folders of *.json")
  .option('--no-connect', 'only read the configuration, do not contact the store')
  .option(
    '--wait [SECONDS]',
    'repeat the check while the store or its bucket is not there yet; without a number, as long as Orthanc waits',
    seconds,
  )
  .option('--json', 'print the result as JSON')
  .addHelpText(
    'after',
    `
Example, as the user that runs Orthanc:
  sudo -u orthanc orthanc-cloud-storage check /etc/orthanc`,
  )
  .action(check)

program
  .command('keygen')
  .description('Make a new master key: 32 random bytes in base64.')
  .option('--out <FILE>', 'write it to a new file that only its owner may read; without it, to standard output')
  .addHelpText(
    'after',
    `
Example:
  orthanc-cloud-storage keygen --out /etc/orthanc/key2

Then give the file to Orthanc's user, name it in StorageEncryption.MasterKey as [2, "/etc/orthanc/key2"], and keep a
copy in a safe place: without the key, nothing that is encrypted with it can ever be read again.`,
  )
  .action(keygen)

program
  .command('inspect')
  .description('Say whether files are encrypted, under which master key, and how large they are. Needs no key.')
  .argument('<FILE...>', 'objects of the store, copied to this machine')
  .option('--json', 'print the results as JSON')
  .action(inspect)

program
  .command('encrypt')
  .description('Encrypt a file as the plugin does.')
  .requiredOption('--master-key <ID:FILE>', 'number and file of the master key', keyOption)
  .option('--force', 'overwrite OUT if it exists')
  .argument('<IN>', 'the file to encrypt; - is standard input')
  .argument('<OUT>', 'the file to make, which appears only when it is whole; - is standard output')
  .action(encrypt)

program
  .command('decrypt')
  .description('Decrypt an object without Orthanc. OUT appears only if every byte was verified.')
  .requiredOption(
    '--master-key <ID:FILE>',
    'number and file of a master key; may be given several times',
    several(keyOption),
  )
  .option('--force', 'overwrite OUT if it exists')
  .argument('<IN>', 'the file to decrypt; - is standard input')
  .argument('<OUT>', 'the file to make, which only its owner may read; - is standard output')
  .addHelpText(
    'after',
    `
Example:
  orthanc-cloud-storage decrypt --master-key 1:/etc/orthanc/key1 3a0c...e1.dcm.enc image.dcm

A file names the key that it needs; "inspect" shows it. Standard input is first copied, still encrypted, to a temporary
file without a name (TMPDIR). Before anything goes to standard output, all of it is verified, in a pass of its own.`,
  )
  .action(decrypt)

program
  .command('rotate-keys')
  .description('Re-encrypt all objects of the store that are under another master key than the current one.')
  .requiredOption('--config <PATH>', CONFIG, several(String))
  .option('--from <ID>', 'only objects under this key; may be given several times', several(keyId))
  .option('--dry-run', 'change nothing, say how many objects and bytes would be re-encrypted')
  .option('--concurrency <N>', 'objects in work at once', concurrency, 8)
  .addOption(rateLimitOption())
  .option('--state <FILE>', 'keep the progress in this file, so that a later run need not look at everything again')
  .addOption(queueOption())
  .option('--json', 'print the result as JSON')
  .addHelpText(
    'after',
    `
Steps:
  1. Make a key ("keygen"). In Orthanc's configuration make it the MasterKey and move the old one to PreviousMasterKeys.
  2. Restart Orthanc: from now on it writes with the new key and reads both.
  3. orthanc-cloud-storage rotate-keys --config /etc/orthanc --state rotation.state
  4. When it says "key 1 is no longer used", remove that key from PreviousMasterKeys and restart Orthanc.

Orthanc may work meanwhile. The run may be stopped (Ctrl-C) or killed at any moment; the same command goes on where it
was. Each object is verified before it is written, and read back and compared after. Objects that cannot be read are
named and left as they are. Run it with the same access to store and keys as Orthanc; on several machines only with
--queue.

Exit code: 0 done, 1 some objects failed, 2 the command was not understood, 3 it could not finish.`,
  )
  .action(rotateKeys)

for (const command of [verifyCommand, copyCommand, importCommand, usageCommand, runsCommand])
  program.addCommand(command.copyInheritedSettings(program))

program
  .command('deletions')
  .description('List the removals that Orthanc was promised and that are not carried out yet; or carry them out.')
  .requiredOption('--config <PATH>', CONFIG, several(String))
  .option('--drain', 'carry them out now, those that were refused for a day included')
  .option('--json', 'print the result as JSON')
  .addHelpText(
    'after',
    `
Before a change of plugin, bucket or account:
  1. Stop Orthanc.
  2. sudo -u orthanc orthanc-cloud-storage deletions --config /etc/orthanc --drain

Only entries of the store in the configuration are carried out. Those of other stores are counted, and stay.`,
  )
  .action(deletions)

program
  .command('help')
  .description('Say more about a command.')
  .argument('[COMMAND]')
  .action((name?: string) => {
    const command = name === undefined ? program : program.commands.find(one => one.name() === name)
    if (!command) return program.error(`error: unknown command '${name}'`)
    command.outputHelp()
  })

function seconds(text: string): number | true {
  if (text === '') return true
  const count = Number(text)
  if (!/^\d+$/.test(text) || count > 86_400) throw new InvalidArgumentError('It is a number of seconds, up to 86400.')
  return count
}

/** "error: ...", sometimes with a second line about the nearest option. Hides what may be a key or a password. */
function oneLine(text: string): string {
  return `${text
    .trim()
    .replace(/(--master-key [^']*') argument '.{20,}' is invalid/s, '$1 is invalid')
    .replace(/(--queue [^']*') argument '.*' is invalid/s, '$1 is invalid')
    .replace(/(unknown option '[^'=]*)=.*?'/s, "$1'")
    .replace(/^error: /, 'orthanc-cloud-storage: ')
    .replaceAll('\n', ' ')}\n`
}

/** Whether standard output belongs to one JSON document. */
let json = false
program.hook('preAction', (_, command) => {
  json = command.opts()['json'] === true
})

function reportOf(error: unknown) {
  const { code, message, remedy, where } = Fault.from(error)
  return { code, ...where, message, ...(remedy ? { remedy } : {}) }
}

noDebugger()
ensureHome()

/** So that "check --wait FILE" does not take the file for the number. */
const words = process.argv.map((word, i, all) =>
  word === '--wait' && !isNumber(all[i + 1], all[i + 2]) ? '--wait=' : word,
)

/** Or is meant to be one: "soon" in "check --wait soon FILE". */
function isNumber(word = '', next = '-'): boolean {
  return /^\d+$/.test(word) || !(word.startsWith('-') || next.startsWith('-') || existsSync(word))
}

try {
  await program.parseAsync(words)
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    if (json) sayJson({ error: reportOf(error) })
    fail(error)
  }
}
