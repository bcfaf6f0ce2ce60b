import { Command } from 'commander'
import { CONFIG, concurrency, count, mustFit, rateLimitOption, several } from './arguments.ts'
import { type CopyArguments, checkCopy, copy } from './copy.ts'
import { queueOption } from './queue-option.ts'

export const copyCommand = new Command('copy')
  .description('Copy all objects of one configuration to another: provider, names and encryption may differ.')
  .requiredOption('--from <PATH>', CONFIG, several(String))
  .requiredOption(
    '--to <PATH>',
    "the same, for the target. Without a provider's section: Orthanc's own disk",
    several(String),
  )
  .option('--dry-run', 'change nothing, say what would be copied')
  .option('--deep', 'read both sides to their ends and compare them, also what is equal already')
  .option('--decrypt', 'what is encrypted at the source may be stored in plain at the target')
  .option('--delete-extra', 'say which objects only the target has; with --yes, remove them')
  .option('--yes', 'carry --delete-extra out')
  .option('--expect <N>', 'how many extra objects there are, where they are many', count)
  .option('--orthanc <URL>', "read the types of files through Orthanc's REST API, where names do not say them")
  .option('--orthanc-user-file <FILE>', 'user and password for it, as USER:PASSWORD')
  .option('--concurrency <N>', 'objects in work at once', concurrency, 32)
  .addOption(rateLimitOption())
  .option('--state <FILE>', 'keep the progress in this file, so that a later run need not look at everything again')
  .addOption(queueOption())
  .option('--json <FILE>', 'write one JSON object a line, then a summary; - is standard output')
  .option('--scratch <FOLDER>', 'where the index is kept meanwhile, when it is needed; else TMPDIR')
  .addHelpText(
    'after',
    `
Exit code: 0 both sides have the same files, 1 they do not, 2 the command was not understood, 3 it could not finish.

Orthanc may work meanwhile. Run it again to copy the difference. What the target has already is never overwritten.
Run it as the user that runs Orthanc. Of a hybrid mode, only the object store is copied. docs/migrate.md has the way
from one provider to another.`,
  )
  .action(async (options: CopyArguments, command: Command) => {
    mustFit(command, () => checkCopy(options))
    await copy(options)
  })
