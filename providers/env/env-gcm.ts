import { createCipheriv, createDecipheriv, randomFillSync, type KeyObject } from 'node:crypto'

const ALGORITHM = 'aes-256-gcm'
const TAG_BYTES = 16
const IV_BYTES = 12
const options = { authTagLength: TAG_BYTES }

/** Random IVs are fetched in blocks: a call for each would cost as much as the encryption. */
const ivs = Buffer.alloc(IV_BYTES * 512)
let nextIv = ivs.length

function freshIv(): Buffer {
  if (nextIv === ivs.length) {
    randomFillSync(ivs)
    nextIv = 0
  }
  const iv = Buffer.from(ivs.subarray(nextIv, nextIv + IV_BYTES))
  nextIv += IV_BYTES
  return iv
}

/** AES-256-GCM under a fresh random 12-byte IV; `wrapped` is ciphertext and 16-byte tag. */
export function sealWith(
  key: KeyObject,
  dek: Buffer,
  aad: Buffer,
): { iv: Buffer; wrapped: Buffer } {
  const iv = freshIv()
  const cipher = createCipheriv(ALGORITHM, key, iv, options)
  cipher.setAAD(aad)
  const wrapped = Buffer.allocUnsafe(dek.length + TAG_BYTES)
  cipher.update(dek).copy(wrapped)
  cipher.final() // returns nothing in GCM
  cipher.getAuthTag().copy(wrapped, dek.length)
  return { iv, wrapped }
}

/** The plaintext, or null when the tag does not match. */
export function openWith(key: KeyObject, iv: Buffer, wrapped: Buffer, aad: Buffer): Buffer | null {
  const end = wrapped.length - TAG_BYTES
  const decipher = createDecipheriv(ALGORITHM, key, iv, options)
  decipher.setAAD(aad)
  decipher.setAuthTag(wrapped.subarray(end))
  const opened = decipher.update(wrapped.subarray(0, end))
  try {
    decipher.final()
    return opened
  } catch {
    opened.fill(0)
    return null
  }
}
