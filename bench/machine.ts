import { cpus, release, totalmem } from 'node:os'

/** What figures were measured on. */
export function machine(): string {
  return `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${(totalmem() / 1e9).toFixed(0)} GB, Linux ${release()}`
}
