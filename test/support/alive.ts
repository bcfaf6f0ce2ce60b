import { after } from 'node:test'

/**
 * For tests that wait for timers which do not keep a process alive: the tests of Node.js 22.13 end when nothing else
 * does, and later versions wait for them anyway.
 */
export function stayAlive(): void {
  const timer = setInterval(() => {}, 60_000)
  after(() => clearInterval(timer))
}
