/** fast-check, the same inputs in every run: a failure is a change's fault, never the day's. SEED=n tries others. */
import fc from 'fast-check'

fc.configureGlobal({ seed: Number(process.env['SEED'] ?? 1) })

export { fc }
