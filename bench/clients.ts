/** Who uploads and reads. Each resolves to the answer's text if something was sent, and reads the answer to its end. */
import { Agent, request } from 'node:http'

export interface Client {
  get(url: string): Promise<unknown>
  post(url: string, body: Buffer): Promise<string>
  close(): void
}

export type Kind = keyof typeof clients

export const clients = {
  /** Plain node:http, which drops what it reads: the client shares the machine with what it measures. */
  lean(connections: number): Client {
    const agent = new Agent({ keepAlive: true, maxSockets: connections })
    const run = (method: string, url: string, body?: Buffer) =>
      new Promise<string>((resolve, reject) => {
        const headers = body ? { 'content-length': body.byteLength } : {}
        const sent = request(url, { method, agent, headers }, answer => {
          let text = ''
          answer.on('data', chunk => {
            if (body) text += chunk
          })
          answer.on('end', () =>
            answer.statusCode === 200 ? resolve(text) : reject(new Error(`HTTP ${answer.statusCode}`)),
          )
        })
        sent.on('error', reject)
        sent.end(body)
      })
    return { get: url => run('GET', url), post: (url, body) => run('POST', url, body), close: () => agent.destroy() }
  },

  /** As applications do it: what is read is there as a whole. */
  fetch(): Client {
    const bytesOf = async (answer: Response) => {
      if (answer.status !== 200) throw new Error(`HTTP ${answer.status}`)
      return Buffer.from(await answer.arrayBuffer())
    }
    return {
      get: async url => bytesOf(await fetch(url)),
      post: async (url, body) =>
        (await bytesOf(await fetch(url, { method: 'POST', body: body as Buffer<ArrayBuffer> }))).toString(),
      close: () => {},
    }
  },
}
