import { createHash, createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto'

/** PKCS#8 of an Ed25519 key without its 32 bytes of seed (RFC 8410, section 7). */
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex')

export interface TestKey {
  name: string
  /** The private key, PKCS#8 PEM. */
  pkcs8: string
  /** The public key, SPKI PEM. */
  pem: string
  /** The public key as OpenSSH writes it. */
  ssh: string
  /** The public key, 32 bytes in base64. */
  raw: string
  sign(text: string): string
}

/** The same key for the same name in every run. It is known to everybody. */
export function approverKey(name: string): TestKey {
  const seed = createHash('sha256').update(`keyturn test approver ${name}`).digest()
  const der = Buffer.concat([pkcs8Head, seed])
  const key: KeyObject = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(key)
  const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url')
  const type = Buffer.from('ssh-ed25519')
  const blob = Buffer.concat([uint32(type.length), type, uint32(raw.length), raw])
  return {
    name,
    pkcs8: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    pem: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    ssh: `ssh-ed25519 ${blob.toString('base64')}`,
    raw: raw.toString('base64'),
    sign: (text) => sign(null, Buffer.from(text, 'utf8'), key).toString('base64'),
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
