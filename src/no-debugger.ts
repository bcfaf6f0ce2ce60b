/**
 * Keeps Node from opening a debugger on a port at SIGUSR1, which may be sent to a whole process group. Every user of
 * the machine could read the keys out of the memory. `--disable-sigusr1` would do the same, but only from Node.js 22.14
 * on.
 */
export function noDebugger(): void {
  process.on('SIGUSR1', () => {})
}
