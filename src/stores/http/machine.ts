/** What machine this is: which metadata service to expect, and whether a container is between it and us. */
import { existsSync, readFileSync } from 'node:fs'

/** Who made the machine, as its firmware says, such as "Amazon EC2"; '' = unknown. */
export function machineMaker(): string {
  try {
    return readFileSync('/sys/class/dmi/id/sys_vendor', 'utf8').trim()
  } catch {
    return ''
  }
}

export function inContainer(): boolean {
  if (process.env['KUBERNETES_SERVICE_HOST'] || process.env['container']) return true
  if (existsSync('/.dockerenv') || existsSync('/run/.containerenv')) return true
  try {
    return /docker|containerd|kubepods|libpod|lxc/.test(readFileSync('/proc/1/cgroup', 'utf8'))
  } catch {
    return false
  }
}
