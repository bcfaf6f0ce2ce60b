/** The network between engine and S3: it can be away for a while, or slow. */
import { createServer, connect as dial, type Server, type Socket } from 'node:net'

export class Network {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #port = 0
  /** Each direction of each connection is late by this. */
  delayMs = 0

  constructor(target: string) {
    const { hostname, port } = new URL(target)
    this.#server = createServer(near => {
      const far = dial(Number(port), hostname)
      this.#join(near, far)
      this.#join(far, near)
    })
  }

  async open(): Promise<string> {
    await new Promise<void>(resolve => this.#server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as { port: number }).port
    return `http://127.0.0.1:${this.#port}`
  }

  /** Nobody listens any more, and what was open breaks. */
  async close(): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.setNoDelay(true)
    from.on('data', bytes => {
      if (this.delayMs === 0) to.write(bytes)
      else setTimeout(() => to.destroyed || to.write(bytes), this.delayMs)
    })
    from.on('end', () => setTimeout(() => to.end(), this.delayMs))
    from.on('error', () => to.destroy())
    from.on('close', () => {
      this.#sockets.delete(from)
      if (from.errored || this.delayMs === 0) to.destroy()
    })
  }
}
