/**
 * On SIGUSR1, which may be meant for a whole process group, Node opens a debugger on a port: every user of the machine could
 * read the keys out of the memory. `--disable-sigusr1` would do the same, but not before Node.js 22.14.
 */
export function noDebugger(): void {
  process.on('SIGUSR1', () => {})
}
