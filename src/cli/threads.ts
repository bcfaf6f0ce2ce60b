/**
 * libuv makes its pool of threads when it is first used, so this must be imported before anything else. Four, its
 * default, are few for programs that wait for disks and for names; the plugin gives the engine as many.
 */
process.env['UV_THREADPOOL_SIZE'] ??= '16'
