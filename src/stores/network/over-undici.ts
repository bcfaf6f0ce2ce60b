import type { Dispatcher } from 'undici'
import type { HttpClient } from './client.ts'

/** undici, where few bytes flow: tokens, and requests through proxies. */
export function overUndici(dispatcher: Dispatcher): HttpClient {
  return {
    async request({ body = null, ...request }) {
      const answer = await dispatcher.request({ ...request, body } as unknown as Dispatcher.RequestOptions)
      answer.body.on('error', () => {}) // who destroys a body need not hear of it
      return answer
    },
    destroy: why => dispatcher.destroy(why ?? null),
  }
}
