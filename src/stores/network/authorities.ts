/** Whose certificates are trusted: Node's own authorities, the operating system's, and those that an option names. */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as tls from 'node:tls'
import { messageOf } from '../../fault.ts'

/** Node.js 22.15 and newer. */
const TELLS = typeof tls.getCACertificates === 'function'
/** Where systems keep theirs, for a Node.js that cannot list them. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/**
 * Made when it is first asked for: it takes about 0.1 s, and a store without TLS needs none of it.
 * `caFile`: Orthanc's HttpsCACertificates. Orthanc itself only warns when it is missing, and so do we: the other
 * authorities may be enough.
 */
export function authorities(caFile: string | undefined, warn: (line: string) => void): () => tls.SecureContext {
  let context: tls.SecureContext | undefined
  return () => {
    context ??= tls.createSecureContext({ ca: [...new Set([...ofNode(), ...ofSystem(), ...ofFile(caFile, warn)])] })
    return context
  }
}

/** With NODE_EXTRA_CA_CERTS. */
function ofNode(): readonly string[] {
  if (TELLS) return tls.getCACertificates('default')
  return [...tls.rootCertificates, ...firstOf([process.env['NODE_EXTRA_CA_CERTS']])]
}

function ofSystem(): readonly string[] {
  if (TELLS) return tls.getCACertificates('system')
  return firstOf([process.env['SSL_CERT_FILE'], ...BUNDLES])
}

function ofFile(file: string | undefined, warn: (line: string) => void): readonly string[] {
  if (file === undefined) return []
  try {
    const text = readFileSync(file, 'utf8')
    new X509Certificate(text) // the first of them: a text that is no certificate would be ignored without an error
    return [text]
  } catch (error) {
    const said = messageOf(error)
    warn(
      `HttpsCACertificates cannot be used (${file}): ${said}. The authorities of Node.js and of the system are trusted; if they are not enough, install the package ca-certificates or correct the path`,
    )
    return []
  }
}

function firstOf(files: readonly (string | undefined)[]): readonly string[] {
  for (const file of files)
    try {
      if (file) return [readFileSync(file, 'utf8')]
    } catch {
      // the next one
    }
  return []
}
