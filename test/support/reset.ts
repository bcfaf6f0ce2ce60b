import type { Socket } from 'node:net'

/**
 * Ends a connection with RST. One that was ended in order is only destroyed: Node.js 24.21 never ends a process that
 * resets a socket in the tick in which it was ended. It spins in its own clean-up.
 */
export function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
