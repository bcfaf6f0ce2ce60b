import { Command } from 'commander'
import { CONFIG, concurrency, rateLimitOption, several } from './arguments.ts'
import { queueOption } from './queue-option.ts'
import { type UsageArguments, usage } from './usage.ts'

export const usageCommand = new Command('usage')
  .description('Count objects and bytes by type, storage class, age, encryption and tier, and say what they cost.')
  .requiredOption('--config <PATH>', CONFIG, several(String))
  .option('--prices <FILE>', 'list prices of storage, as JSON: says what it costs in a month')
  .option('--key-ids', 'read the first bytes of each object that may be encrypted, to count by master key')
  .option('--all', "list the whole root path once more, to count objects with keys that no file of Orthanc's has")
  .option('--concurrency <N>', 'objects that are read at once with --key-ids', concurrency, 8)
  .addOption(rateLimitOption())
  .option('--state <FILE>', 'keep what is counted in this file, so that a run that was stopped goes on')
  .addOption(queueOption())
  .option('--json <FILE>', 'write one JSON object a line: sums, then a summary; - is standard output')
  .addHelpText(
    'after',
    `
Exit code: 0 everything was counted, 1 some objects could not be read, 2 the command was not understood, 3 it could not
finish.

Example:
  orthanc-cloud-storage usage --config /etc/orthanc --prices prices.json

Orthanc may work meanwhile. Only the listing is read, unless --key-ids is given. In a hybrid mode Orthanc's disk is
counted, too: run the command there, as the user that runs Orthanc.`,
  )
  .action((options: UsageArguments) => usage(options))
