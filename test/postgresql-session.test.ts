/** The way to PostgreSQL when no PostgreSQL is at its end, or it says nothing. */
import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { parsePostgresql } from '../src/config/postgresql.ts'
import { Fault } from '../src/fault.ts'
import { PostgresqlIndex } from '../src/orthanc-index/postgresql.ts'
import { never } from './support/store.suite.ts'
import { undo } from './support/undo.ts'

const wanted = new Set(['94c86382-89d2-47d3-80d9-6037fae57a8e'])

function indexAt(port: number): PostgresqlIndex {
  const section = { EnableIndex: true, Host: '127.0.0.1', Port: port, Username: 'u', Password: 'S3cr3t', Database: 'd' }
  return new PostgresqlIndex(parsePostgresql(JSON.stringify({ PostgreSQL: section })) ?? assert.fail(), {}, 1)
}

/** `says`: to each connection that begins to speak. */
async function serving(says: (socket: Socket) => void) {
  const sockets: Socket[] = []
  const server = createServer(socket => {
    sockets.push(socket)
    socket.on('error', () => {}).once('data', () => says(socket))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  undo.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return { index: indexAt(typeof address === 'object' && address ? address.port : 0), sockets, server }
}

/** A message of PostgreSQL's: its letter, its length, its content. */
function message(letter: string, content: string): Buffer {
  const body = Buffer.from(content, 'latin1')
  const head = Buffer.alloc(5)
  head.write(letter)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
const error = (code: string, text: string) => message('E', `SFATAL\0C${code}\0M${text}\0\0`)

describe('PostgreSQL', () => {
  it('that is not there is tried some times', async () => {
    const { index, server } = await serving(() => {})
    await new Promise(resolve => server.close(resolve))
    await assert.rejects(index.find(wanted, never), (fault: Fault) => {
      assert.equal(fault.code, 'Unavailable')
      assert.match(fault.describe(), /ECONNREFUSED.*after 5 attempts.*Check Host and Port/)
      return true
    })
  })

  it('that is starting is tried again until it is there, and one that says no is not', async () => {
    for (const [code, times, expected] of [
      ['57P03', 5, 'Unavailable'],
      ['53300', 5, 'Unavailable'],
      ['28P01', 1, 'Denied'],
      ['3D000', 1, 'BadConfig'],
      ['XX000', 1, 'Internal'],
    ] as const) {
      const { index, sockets } = await serving(socket => socket.end(error(code, 'the database says so')))
      await assert.rejects(index.find(wanted, never), { code: expected, message: /the database says so/ })
      assert.equal(sockets.length, times, code)
    }
    const { index, sockets } = await serving(socket => {
      socket.end(sockets.length < 3 ? error('57P03', 'starting up') : error('28P01', 'no such user'))
    })
    await assert.rejects(index.find(wanted, never), { code: 'Denied' })
    assert.equal(sockets.length, 3)
  })

  it('is not taken for what does not speak its language', async () => {
    const { index } = await serving(socket => socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n'))
    await assert.rejects(index.find(wanted, never), error => error instanceof Fault && !/S3cr3t/.test(error.describe()))
  })

  it('that says nothing holds nobody up who wants to stop', async () => {
    const abort = new AbortController()
    const { index, sockets } = await serving(() => abort.abort(new Fault('Canceled', 'enough')))
    const closed = new Promise<void>(resolve => {
      const look = () => (sockets[0] ? sockets[0].once('close', resolve) : setImmediate(look))
      look()
    })
    await assert.rejects(index.find(wanted, abort.signal), { code: 'Canceled', message: 'enough' })
    await closed
    const aborted = AbortSignal.abort(new Fault('Canceled', 'before'))
    await assert.rejects(index.find(wanted, aborted), { code: 'Canceled', message: 'before' })
  })
})
