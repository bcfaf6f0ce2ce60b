import { Command } from 'commander'
import { ageOption, CONFIG, concurrency, count, mustFit, rateLimitOption, several } from './arguments.ts'
import { queueOption } from './queue-option.ts'
import { type VerifyArguments, verify } from './verify.ts'
import { checkRepairs } from './verify-repair.ts'
import { checkShared } from './verify-shared.ts'

export const verifyCommand = new Command('verify')
  .description("Compare Orthanc's index with the store: what is missing, wrong or too much.")
  .requiredOption('--config <PATH>', CONFIG, several(String))
  .option('--orthanc <URL>', "read the index through Orthanc's REST API, instead of from its database")
  .option('--orthanc-user-file <FILE>', 'user and password for it, as USER:PASSWORD')
  .option('--digests', 'compare what the store tells of digests with the index, without reading objects')
  .option('--deep', 'read every object to its end')
  .addOption(
    ageOption(
      '--older-than <TIME>',
      'only what is older is an orphan or a leftover, such as 90m or 7d',
      24 * 3_600_000,
      '24h',
    ),
  )
  .addOption(
    ageOption(
      '--settle <TIME>',
      'how long a removal or a move may take that is under way: orphans are looked at last',
      60_000,
      '1m',
    ),
  )
  .option('--state <FILE>', 'keep what is done in this file: after its end in the middle, the same command goes on')
  .addOption(queueOption())
  .option('--json <FILE>', 'write one JSON object a line: findings, then a summary; - is standard output')
  .option('--scratch <FOLDER>', 'where the scratch file is made: some 150 bytes for each file; else TMPDIR')
  .option('--concurrency <N>', 'files that are looked at or read at once', concurrency, 8)
  .addOption(rateLimitOption())
  .option(
    '--repair <WHAT...>',
    'orphans=trash, orphans=delete, doubles, doubles=trash, leftovers, missing=fetch-from FILE; a dry run without --yes',
  )
  .option('--empty-trash', 'remove what is in the trash for longer than --older-than; a dry run without --yes')
  .option('--yes', 'carry the repair out, or empty the trash')
  .option('--expect <N>', 'so many orphans are right, also where that is more than is usual', count)
  .addHelpText(
    'after',
    `
Exit code: 0 nothing found, 1 something found, 2 the command was not understood, 3 it could not finish.

Orthanc may work meanwhile. What looks wrong is looked at again, in the index and in the store, before it is reported.
In a hybrid mode Orthanc's disk is compared, too: run the command there, as the user that runs Orthanc.`,
  )
  .action(async (options: VerifyArguments, command: Command) => {
    mustFit(command, () => {
      checkRepairs(options)
      checkShared(options)
    })
    await verify(options)
  })
