/**
 * A TCP proxy that is a network with a given round trip and any bandwidth: node delay-proxy.ts PORT [MILLISECONDS].
 * Each way takes half of it, and a new connection takes one round trip more. Its own process; prints its port.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

const [target, roundTrip] = [Number(process.argv[2]), Number(process.argv[3] ?? 20)]

/** In their order; `undefined` is the end. `handshake`: what the first bytes wait for as well. */
function delayed(from: Socket, to: Socket, handshake = 0): void {
  const onTheWay: { readonly due: number; readonly bytes: Buffer | undefined }[] = []
  let first = performance.now() + handshake
  const arrive = () => {
    // Timers know whole milliseconds only.
    while (onTheWay[0] && onTheWay[0].due - performance.now() < 0.5) {
      const { bytes } = onTheWay.shift() as (typeof onTheWay)[0]
      if (bytes === undefined) to.end()
      else if (!to.write(bytes)) from.pause()
    }
    if (onTheWay[0]) setTimeout(arrive, Math.round(onTheWay[0].due - performance.now()))
  }
  const depart = (bytes: Buffer | undefined) => {
    const due = Math.max(performance.now(), first) + roundTrip / 2
    first = 0
    if (onTheWay.push({ due: Math.max(due, onTheWay.at(-1)?.due ?? 0), bytes }) === 1) arrive()
  }
  from.on('data', depart)
  from.on('end', () => depart(undefined))
  from.on('error', () => to.destroy())
  to.on('drain', () => from.resume())
}

const server = createServer({ noDelay: true, allowHalfOpen: true }, client => {
  const there = connect({ port: target, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  delayed(client, there, roundTrip)
  delayed(there, client)
})
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit(0))
