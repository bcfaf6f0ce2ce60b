/** What must be said to Node.js before anything else is imported. */
import { setFlagsFromString } from 'node:v8'

/**
 * libuv makes its pool of threads when it is first used. Four, its default, are few for programs that wait for disks
 * and for names; the plugin gives the engine as many.
 */
process.env['UV_THREADPOOL_SIZE'] ??= '16'

// The space for new objects stays as small as it begins. Else it grows with the work, and the process takes 150 MB more
// for nothing. The option is not documented, so it is set only where it is known.
if (/^1[23]\./.test(process.versions.v8)) setFlagsFromString('--semi-space-growth-factor=1')
