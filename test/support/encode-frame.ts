import { encodeHeader, type Fields } from '../../src/wire/frames.ts'

/** A whole frame with a small payload. */
export function encodeFrame(kind: number, fields: Fields = {}, payload: string | Uint8Array = ''): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'utf8') : payload
  return Buffer.concat([encodeHeader(kind, body.byteLength, fields), body])
}
