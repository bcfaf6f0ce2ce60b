/** The machines that packages are made for, each by the names that its tools have for it. */
export interface Architecture {
  /** Of Debian, and of our packages' names. */
  readonly debian: 'amd64' | 'arm64'
  /** Of Node.js. */
  readonly node: 'x64' | 'arm64'
  /** Of compilers. */
  readonly machine: 'x86_64' | 'aarch64'
}

export const architectures: readonly Architecture[] = [
  { debian: 'amd64', node: 'x64', machine: 'x86_64' },
  { debian: 'arm64', node: 'arm64', machine: 'aarch64' },
]
