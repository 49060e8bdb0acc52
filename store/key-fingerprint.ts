import { createHash } from 'node:crypto'

const type = Buffer.from('ssh-ed25519')

/** The fingerprint of a raw Ed25519 public key (base64) as `ssh-keygen -l` shows it: `SHA256:` and 43 letters. */
export function keyFingerprint(key: string): string {
  const blob = [type, Buffer.from(key, 'base64')].flatMap((part) => [uint32(part.length), part])
  const hash = createHash('sha256').update(Buffer.concat(blob)).digest('base64')
  return `SHA256:${hash.replaceAll('=', '')}`
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
