/**
 * Loaded into a program before it begins (`node --import`): sends it a signal at a moment that is counted in the
 * program's own work. So the moment comes on any machine. KILL_AT="SIGKILL 7 120": when the seventh object is about to
 * be sealed, and 120 more asynchronous operations (reads, writes, promises) have begun.
 */
import { createHook } from 'node:async_hooks'
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

const [signal = '', seals, steps] = (process.env['KILL_AT'] ?? '').split(' ')
let sealsLeft = Number(seals)
let stepsLeft = Number(steps)

const hook = createHook({
  init() {
    if (stepsLeft-- > 0) return
    hook.disable()
    process.kill(process.pid, signal)
  },
})
const { createCipheriv } = crypto
Object.assign(crypto, {
  createCipheriv(...all: Parameters<typeof createCipheriv>) {
    if (/gcm$/.test(all[0]) && --sealsLeft === 0) hook.enable()
    return createCipheriv(...all)
  },
})
syncBuiltinESMExports()
