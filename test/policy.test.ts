/** The security policy, row by row: what a configuration writes, and what it reads, on each tier. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { a1 } from '../src/seal/a1.ts'
import { plain } from '../src/seal/envelope.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'
import { encryptionStateOf, envelopesOf } from '../src/seal/policy.ts'

const sealed = a1(keyring(masterKey(1, Buffer.alloc(32, 1).toString('base64')), []))
const on = { enabled: true, allowUnencryptedRead: false }
const lenient = { enabled: true, allowUnencryptedRead: true }
const ended = { enabled: false, allowUnencryptedRead: false }
const endedAndLenient = { enabled: false, allowUnencryptedRead: true }

describe('what is written first, and read', () => {
  const rows = [
    ['without StorageEncryption', undefined, [plain], [plain]],
    ['with encryption', on, [sealed], [sealed, plain]],
    ['with AllowUnencryptedRead', lenient, [sealed, plain], [sealed, plain]],
    ['with Enable false and keys', ended, [plain, sealed], [plain, sealed]],
    ['with Enable false, keys and AllowUnencryptedRead', endedAndLenient, [plain, sealed], [plain, sealed]],
  ] as const
  for (const [what, configured, inStore, onDisk] of rows)
    it(what, () => {
      const encryption = encryptionStateOf(configured)
      assert.deepEqual(envelopesOf(encryption, 'object-storage', sealed), inStore)
      assert.deepEqual(envelopesOf(encryption, 'file-system', sealed), onDisk)
    })
})
