import { createPublicKey } from 'node:crypto'

/** Bytes of a raw Ed25519 public key. */
const rawLength = 32

/**
 * The points of small order: a signature under such a key can be made without a private key (RFC 8032, section 5.1.7, leaves
 * their refusal to the verifier). In hex, without the sign bit of x.
 */
const smallOrder = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
])

/**
 * The raw bytes of an Ed25519 public key, written as PEM (SPKI) or as `ssh-ed25519 …`. Otherwise why it is refused, as a
 * predicate; it never quotes the key, because a private one may have been written by mistake.
 */
export function parseApproverKey(written: string): { raw: Buffer } | { refusal: string } {
  const text = written.trim()
  const parsed = text.includes('-----BEGIN') ? fromPem(text) : fromSsh(text)
  if ('refusal' in parsed) return parsed
  const magnitude = Buffer.from(parsed.raw)
  magnitude[rawLength - 1] = (magnitude[rawLength - 1] ?? 0) & 0x7f
  return smallOrder.has(magnitude.toString('hex'))
    ? { refusal: 'is a point of small order: anybody could sign for it' }
    : parsed
}

function fromPem(text: string): { raw: Buffer } | { refusal: string } {
  const [, label = ''] = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(text) ?? []
  if (label.includes('PRIVATE KEY')) {
    return { refusal: 'is a private key: write the public one (openssl pkey -pubout)' }
  }
  if (label !== 'PUBLIC KEY') {
    return { refusal: `is a PEM of "${label}", not of "PUBLIC KEY" (SPKI)` }
  }
  try {
    const key = createPublicKey({ key: text, format: 'pem', type: 'spki' })
    if (key.asymmetricKeyType !== 'ed25519') {
      return { refusal: `is a key of type ${key.asymmetricKeyType ?? 'unknown'}, not ed25519` }
    }
    return { raw: Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url') }
  } catch {
    return { refusal: 'is a PEM that cannot be read' }
  }
}

/** RFC 8709: the type and the key, each with its length in front. A comment after it is ignored. */
function fromSsh(text: string): { raw: Buffer } | { refusal: string } {
  const [type = '', encoded = ''] = text.split(/\s+/)
  if (type !== 'ssh-ed25519') {
    return /^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+$/.test(type)
      ? { refusal: `is a key of type ${type}, not ssh-ed25519` }
      : { refusal: 'is neither a PEM of an Ed25519 public key nor "ssh-ed25519 …"' }
  }
  const blob = Buffer.from(encoded, 'base64')
  const raw = blob.subarray(-rawLength)
  const isWhole = sshBlob(raw).equals(blob) && sameBase64(blob.toString('base64'), encoded)
  return isWhole ? { raw } : { refusal: 'is no complete "ssh-ed25519" key' }
}

function sshBlob(raw: Uint8Array): Buffer {
  const type = Buffer.from('ssh-ed25519')
  return Buffer.concat([uint32(type.length), type, uint32(raw.length), raw])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function sameBase64(one: string, other: string): boolean {
  return one.replaceAll('=', '') === other.replaceAll('=', '')
}
