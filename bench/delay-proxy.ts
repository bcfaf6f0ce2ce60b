/** A TCP proxy that delays every chunk by 10 ms each way: a round trip of 20 ms. Its own process; prints its port. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

const ONE_WAY_MS = 10
const target = Number(process.argv[2])

function delayed(from: Socket, to: Socket): void {
  from.on('data', chunk => setTimeout(() => to.write(chunk), ONE_WAY_MS))
  from.on('end', () => setTimeout(() => to.end(), ONE_WAY_MS))
  from.on('error', () => to.destroy())
}

const server = createServer({ noDelay: true }, client => {
  const there = connect({ port: target, host: '127.0.0.1', noDelay: true })
  delayed(client, there)
  delayed(there, client)
})
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit(0))
