import { Command } from 'commander'
import { CONFIG, several } from './arguments.ts'
import { queueOption } from './queue-option.ts'
import { type RunsArguments, runs } from './runs.ts'

export const runsCommand = new Command('runs')
  .description('List the runs of commands with --queue: how far they are, who works on them, how fast.')
  .addOption(
    queueOption('the database: postgres://USER@HOST/DATABASE, or index for that of Orthanc').makeOptionMandatory(),
  )
  .option('--config <PATH>', `for "--queue index": ${CONFIG}`, several(String))
  .option('--remove <ID>', 'remove a run that nobody works on, with its results; the first digits are enough')
  .option('--json', 'print the result as JSON')
  .action((options: RunsArguments) => runs(options))
