import { Command } from 'commander'
import { Fault } from '../fault.ts'
import { CONFIG, concurrency, mustFit, rateLimitOption, several } from './arguments.ts'
import { type ImportArguments, importFiles } from './import.ts'
import { queueOption } from './queue-option.ts'

export const importCommand = new Command('import')
  .description('Give all DICOM files of a store to an Orthanc: after a lost index, or from a bucket of somebody else.')
  .requiredOption('--from <PATH>', `${CONFIG}; it says where to read`, several(String))
  .option('--orthanc <URL>', 'the Orthanc that gets the files; not needed with --dry-run')
  .option('--orthanc-user-file <FILE>', 'user and password for it, as USER:PASSWORD')
  .option('--dry-run', 'read everything and send nothing: say what would be sent, and what is damaged')
  .option('--concurrency <N>', 'files that are on their way at once', concurrency, 10)
  .addOption(rateLimitOption())
  .option('--state <FILE>', 'keep in this file what is done, so that a run that was stopped goes on')
  .addOption(queueOption())
  .option('--json <FILE>', 'write one JSON object a line: what was not imported, then a summary; - is standard output')
  .addHelpText(
    'after',
    `
Exit code: 0 everything is in Orthanc, 1 something was not imported, 2 the command was not understood, 3 it could not
finish.

Example:
  orthanc-cloud-storage import --from old.json --orthanc http://localhost:8042 --state /var/tmp/import

Orthanc stores each file again, under a new UUID. So give it another RootPath or another bucket than the one that is
read, and remove the old one when all is well. Nothing that Orthanc has is overwritten.`,
  )
  .action(async (options: ImportArguments, command: Command) => {
    mustFit(command, () => {
      if (options.dryRun || options.orthanc !== undefined) return
      throw new Fault('BadRequest', 'no Orthanc is given', {
        remedy: 'Give its URL, such as --orthanc http://localhost:8042, or --dry-run.',
      })
    })
    await importFiles(options)
  })
