/** Sends a request over a connection. */
import type { Socket } from 'node:net'
import { errors } from 'undici'
import type { HttpRequest } from '../client.ts'

export interface Writer {
  readonly socket: Socket
  /** Resolves when the socket has room again, or has ended. */
  drained(): Promise<void>
  /** Whether anybody still wants the rest of the body. */
  wanted(): boolean
}

/** The head of a request, in latin1. Throws what HTTP cannot carry: a line end in a name or a value adds a header. */
export function headOf({ origin, path, method, headers = {}, body }: HttpRequest): string {
  if (/[^!-\xff]/.test(path)) throw new errors.InvalidArgumentError('invalid request path')
  let text = `${method} ${path} HTTP/1.1\r\n`
  if (headers['host'] === undefined) text += `host: ${origin.replace(/^\w+:\/\//, '')}\r\n`
  text += `connection: ${method === 'HEAD' ? 'close' : 'keep-alive'}\r\n`
  for (const name in headers) {
    const value = String(headers[name])
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name) || /[^\t -~\x80-\xff]/.test(value))
      throw new errors.InvalidArgumentError(`invalid ${name} header`)
    text += `${name}: ${value}\r\n`
  }
  const length = lengthOf(body)
  const announced = headers['content-length']
  if (length && announced === undefined) text += `content-length: ${length}\r\n`
  else if (announced !== undefined && length !== undefined && Number(announced) !== length)
    throw new errors.RequestContentLengthMismatchError()
  return `${text}\r\n`
}

/** undefined for a body that is streamed. */
function lengthOf(body: HttpRequest['body']): number | undefined {
  if (body === undefined || body === null) return 0
  if (typeof body === 'string') return Buffer.byteLength(body)
  return body instanceof Uint8Array ? body.byteLength : undefined
}

/** Resolves to whether all of it was handed over. Rejects with what the body throws, or when it has another length. */
export async function upload(request: HttpRequest, head: string, writer: Writer): Promise<boolean> {
  const { socket, drained, wanted } = writer
  const { body } = request
  if (typeof body === 'string' || body instanceof Uint8Array) {
    socket.cork()
    socket.write(head, 'latin1')
    const free = body.length === 0 || socket.write(body)
    socket.uncork() // one system call for both
    if (!free) await drained()
    return true
  }
  socket.write(head, 'latin1')
  const announced = Number(request.headers?.['content-length'])
  let sent = 0
  for await (const chunk of body ?? []) {
    sent += chunk.byteLength
    if (sent > announced) throw new errors.RequestContentLengthMismatchError()
    if (!wanted()) return false
    if (chunk.byteLength > 0 && !socket.write(chunk)) await drained()
    if (!wanted()) return false
  }
  if (sent !== announced) throw new errors.RequestContentLengthMismatchError()
  return true
}
