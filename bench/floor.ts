/** What one request to the stub costs without Orthanc, plugin and engine. No storage behind HTTP can be faster. */
import { Pool } from 'undici'

export interface Floor {
  /** Milliseconds of one request with 220 KB, one after the other. */
  readonly put: number
  readonly get: number
}

const BYTES = 332 * 332 * 2
const COUNT = 1000

export async function measureFloor(port: number): Promise<Floor> {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 1 })
  const body = Buffer.alloc(BYTES, 'a')
  const timed = async (method: 'PUT' | 'GET') => {
    let began = 0
    for (let i = -COUNT; i < COUNT; i++) {
      if (i === 0) began = performance.now() // what came before was warming up
      const path = `/floor/${Math.abs(i) % 10}`
      const answer = await pool.request({ method, path, ...(method === 'PUT' ? { body } : {}) })
      for await (const _ of answer.body);
    }
    return (performance.now() - began) / COUNT
  }
  const floor = { put: await timed('PUT'), get: await timed('GET') }
  await pool.close()
  return floor
}
