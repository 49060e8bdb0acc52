import { createCipheriv, createDecipheriv } from 'node:crypto'

/** AES-256-GCM (NIST SP 800-38D) with a 16-byte tag, which follows the ciphertext everywhere in Keyturn. */

export const keyLength = 32
export const tagLength = 16
/** The IV of the data, and of a wrap whose IV we choose, in bytes. */
export const ivLength = 12

/** Returns ciphertext, then tag. An IV must never be used twice under one key. */
export function gcmSeal(key: Uint8Array, iv: Uint8Array, plain: Uint8Array, aad: Uint8Array) {
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: tagLength })
  cipher.setAAD(aad)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Takes ciphertext, then tag. Throws whatever node:crypto throws when tag, IV, AAD or key is not the one it was sealed with. */
export function gcmOpen(key: Uint8Array, iv: Uint8Array, sealed: Uint8Array, aad: Uint8Array) {
  const tagAt = sealed.length - tagLength
  if (tagAt < 0) throw new RangeError('shorter than its tag')
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: tagLength })
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(tagAt))
  return Buffer.concat([decipher.update(sealed.subarray(0, tagAt)), decipher.final()])
}
