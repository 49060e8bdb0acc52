import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import { gcmOpen, gcmSeal, ivLength } from './gcm.ts'

export interface SealedData {
  /** 12 bytes. */
  iv: Buffer
  /** AES-256-GCM ciphertext, then the 16-byte tag. */
  ciphertext: Buffer
}

/** Seals the data of a field under its DEK (32 bytes) with a fresh random IV. `aad` is `dataAad` of its place. */
export function sealData(dek: Buffer, plaintext: Uint8Array, aad: Buffer): SealedData {
  const iv = randomBytes(ivLength)
  return { iv, ciphertext: gcmSeal(dek, iv, plaintext, aad) }
}

/** The plaintext; throws `envelope-unreadable` if DEK, data or place differ from those at sealing. */
export function openData(dek: Buffer, envelope: SealedData, aad: Buffer): Buffer {
  try {
    return gcmOpen(dek, envelope.iv, envelope.ciphertext, aad)
  } catch (cause) {
    throw new KeyturnError('envelope-unreadable', 'the data does not open under its data key', {
      hint: 'it was changed, or is in another record, field or collection than it was sealed for',
      cause,
    })
  }
}
