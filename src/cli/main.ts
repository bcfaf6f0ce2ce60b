#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { version } from '../version.ts'
import { check } from './check.ts'
import { fail } from './terminal.ts'

/** Exit codes: 0 done, 1 it failed, 2 the command line was wrong. */
const program = new Command('orthanc-cloud-storage')
  .description('Looks after the object storage of an Orthanc server, from outside Orthanc.')
  .version(version)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'orthanc-cloud-storage: ')) })

program
  .command('check')
  .description("Read Orthanc's configuration as the plugin does, and ask the store whether it lets us in.")
  .argument('<file>', "Orthanc's configuration file (JSON, comments allowed)")
  .option('--no-connect', 'only read the configuration, do not contact the store')
  .action(check)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else fail(error)
}
