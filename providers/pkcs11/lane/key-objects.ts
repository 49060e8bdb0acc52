import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import {
  attribute,
  call,
  ck,
  findObjects,
  type Attribute,
  type Cryptoki,
  type Handle,
} from './driver.ts'
import { CkrError } from '../wire/errors.ts'

/** Enough to tell one key from several; labels are exact, so more would only be more of the same mistake. */
const MOST = 8
const KEY_BYTES = 32

export interface Session {
  cryptoki: Cryptoki
  handle: Handle
}

const true_ = Buffer.from([1])
const false_ = Buffer.from([0])

/**
 * What a KEK must be (name, type, value that is demanded, and whether a token may leave it unsaid). CKA_VALUE_LEN of
 * 32 makes it AES-256.
 */
const demanded: readonly (readonly [
  string,
  number,
  (value: Buffer) => boolean,
  'say' | 'silent',
])[] = [
  ['CKA_CLASS=secret key', ck.CKA_CLASS, (value) => ulong(value) === ck.CKO_SECRET_KEY, 'say'],
  ['CKA_KEY_TYPE=AES', ck.CKA_KEY_TYPE, (value) => ulong(value) === ck.CKK_AES, 'say'],
  ['CKA_VALUE_LEN=32', ck.CKA_VALUE_LEN, (value) => ulong(value) === KEY_BYTES, 'silent'],
  ['CKA_TOKEN=true', ck.CKA_TOKEN, (value) => value.equals(true_), 'say'],
  ['CKA_PRIVATE=true', ck.CKA_PRIVATE, (value) => value.equals(true_), 'say'],
  ['CKA_SENSITIVE=true', ck.CKA_SENSITIVE, (value) => value.equals(true_), 'say'],
  ['CKA_EXTRACTABLE=false', ck.CKA_EXTRACTABLE, (value) => value.equals(false_), 'say'],
  ['CKA_ENCRYPT=true', ck.CKA_ENCRYPT, (value) => value.equals(true_), 'say'],
  ['CKA_DECRYPT=true', ck.CKA_DECRYPT, (value) => value.equals(true_), 'say'],
]

/** All secret keys of exactly this label, and id if one is given. */
export function findKeys(session: Session, label: string, keyId: Buffer | null): Handle[] {
  const template: Attribute[] = [
    { type: ck.CKA_CLASS, value: ck.CKO_SECRET_KEY },
    { type: ck.CKA_LABEL, value: label },
    ...(keyId === null ? [] : [{ type: ck.CKA_ID, value: keyId }]),
  ]
  return findObjects(session.cryptoki, session.handle, template, MOST)
}

/** Exactly one key of this label, and id if given. Throws key-not-found or key-ambiguous. */
export function findOneKey(session: Session, label: string, keyId: Buffer | null): Handle {
  const found = findKeys(session, label, keyId)
  const first = found[0]
  const with_ = keyId === null ? '' : ` with id ${keyId.toString('hex')}`
  if (first === undefined) {
    throw new KeyturnError('key-not-found', `key "${label}"${with_} not found in token`, {
      hint: 'check kek.pkcs11.key_label_prefix and the token: is it the shared HSM of this install?',
    })
  }
  if (found.length > 1) {
    throw new KeyturnError(
      'key-ambiguous',
      `${found.length} keys "${label}"${with_} in the token`,
      {
        hint: 'a label must name one key: relabel the others by the HSM vendor’s tool, or name one by --id',
      },
    )
  }
  return first
}

export function keyIdOf(session: Session, key: Handle): Buffer | null {
  const id = attribute(session.cryptoki, session.handle, key, ck.CKA_ID)
  return id === null || id.length === 0 ? null : Buffer.from(id)
}

/** Attributes of a key that are not as they must be, as `CKA_NAME=value`; `expectToken` false for a session key. */
export function wrongAttributes(session: Session, key: Handle, expectToken: boolean): string[] {
  return demanded
    .filter(([, type]) => expectToken || type !== ck.CKA_TOKEN)
    .filter(([, type, isRight, silence]) => {
      const value = attribute(session.cryptoki, session.handle, key, type)
      return value === null ? silence === 'say' : !isRight(value)
    })
    .map(([name]) => name)
}

/** Throws key-attributes, naming what the key lacks. */
export function requireAttributes(session: Session, key: Handle, label: string): void {
  const wrong = wrongAttributes(session, key, true)
  if (wrong.length === 0) return
  throw new KeyturnError('key-attributes', `key "${label}" is not ${wrong.join(', ')}`, {
    hint: 'a KEK is an AES-256 key that encrypts, decrypts and cannot leave the token',
  })
}

/** Attributes that say that a key which cannot leave the token now could once; the token sets them (PKCS#11 v3.1, 4.10). */
export function historyWarnings(session: Session, key: Handle): string[] {
  const attributes = {
    CKA_NEVER_EXTRACTABLE: ck.CKA_NEVER_EXTRACTABLE,
    CKA_ALWAYS_SENSITIVE: ck.CKA_ALWAYS_SENSITIVE,
  }
  return Object.entries(attributes)
    .filter(([, type]) => attribute(session.cryptoki, session.handle, key, type)?.equals(false_))
    .map(([name]) => `${name}=false`)
}

/** Generates an AES-256 key that cannot leave the token, good for encrypt and decrypt and for nothing else. */
export function generateKey(
  session: Session,
  label: string,
  keyId: Buffer,
  onToken: boolean,
): Handle {
  const kind = { onToken, leaves: false }
  return generate(session, [
    ...aesTemplate(label, keyId, kind),
    { type: ck.CKA_VALUE_LEN, value: KEY_BYTES },
  ])
}

/**
 * A session key whose value this program knows: one that the token makes and lets be read, else one that it is given.
 * Only ever a probe's, to see by node:crypto what the token did. Null where the token has no such keys (FIPS mode).
 */
export function plainKey(
  session: Session,
  label: string,
  keyId: Buffer,
): { handle: Handle; value: Buffer } | null {
  const template = aesTemplate(label, keyId, { onToken: false, leaves: true })
  const attempts = [
    (): { handle: Handle; value: Buffer | null } => {
      const length = { type: ck.CKA_VALUE_LEN, value: KEY_BYTES }
      const handle = generate(session, [...template, length])
      return { handle, value: attribute(session.cryptoki, session.handle, handle, ck.CKA_VALUE) }
    },
    (): { handle: Handle; value: Buffer | null } => {
      const value = randomBytes(KEY_BYTES)
      const whole = [...template, { type: ck.CKA_VALUE, value }]
      const handle = call('C_CreateObject', () =>
        session.cryptoki.C_CreateObject(session.handle, whole as never),
      )
      return { handle, value }
    },
  ]
  for (const make of attempts) {
    try {
      const { handle, value } = make()
      if (value?.length === KEY_BYTES) return { handle, value: Buffer.from(value) }
      discardKey(session, handle)
    } catch (error) {
      if (!(error instanceof CkrError)) throw error
    }
  }
  return null
}

/** Destroys a session key before its session does; where the token does not, the session's end has to do. */
export function discardKey(session: Session, key: Handle): void {
  try {
    call('C_DestroyObject', () => session.cryptoki.C_DestroyObject(session.handle, key))
  } catch (error) {
    if (!(error instanceof CkrError)) throw error
  }
}

function aesTemplate(
  label: string,
  keyId: Buffer,
  { onToken, leaves }: { onToken: boolean; leaves: boolean },
): Attribute[] {
  return [
    { type: ck.CKA_CLASS, value: ck.CKO_SECRET_KEY },
    { type: ck.CKA_KEY_TYPE, value: ck.CKK_AES },
    { type: ck.CKA_LABEL, value: label },
    { type: ck.CKA_ID, value: keyId },
    { type: ck.CKA_TOKEN, value: onToken },
    { type: ck.CKA_PRIVATE, value: true },
    { type: ck.CKA_SENSITIVE, value: !leaves },
    { type: ck.CKA_EXTRACTABLE, value: leaves },
    { type: ck.CKA_ENCRYPT, value: true },
    { type: ck.CKA_DECRYPT, value: true },
    { type: ck.CKA_WRAP, value: false },
    { type: ck.CKA_UNWRAP, value: false },
  ]
}

function generate({ cryptoki, handle }: Session, template: Attribute[]): Handle {
  return call('C_GenerateKey', () =>
    cryptoki.C_GenerateKey(handle, { mechanism: ck.CKM_AES_KEY_GEN }, template as never),
  )
}

/**
 * Whether the token itself says that the key has exactly this label and id: one that cuts labels, or ignores a part of a
 * search, must not have another key used or destroyed for it.
 */
export function isNamed(session: Session, key: Handle, label: string, keyId: Buffer): boolean {
  const isValue = (type: number, wanted: Buffer): boolean =>
    attribute(session.cryptoki, session.handle, key, type)?.equals(wanted) === true
  return isValue(ck.CKA_LABEL, Buffer.from(label)) && isValue(ck.CKA_ID, keyId)
}

/** Throws key-attributes where the token calls the key otherwise. */
export function requireNamed(session: Session, key: Handle, label: string, keyId: Buffer): void {
  if (isNamed(session, key, label, keyId)) return
  const found = attribute(session.cryptoki, session.handle, key, ck.CKA_LABEL)?.toString() ?? ''
  throw new KeyturnError('key-attributes', `the token calls the key "${label}" "${found}"`, {
    hint: 'it does not keep labels or ids as they are given: choose a shorter kek.pkcs11.key_label_prefix',
  })
}

/** Destroys a key of exactly this label and id, and sees that nothing of them is left. */
export function destroyKey(session: Session, key: Handle, label: string, keyId: Buffer): void {
  requireNamed(session, key, label, keyId)
  deleteKey(session, key, label, keyId)
}

/** The same for a key that was made a moment ago and turned out otherwise, whatever it is called now. */
export function deleteKey(session: Session, key: Handle, label: string, keyId: Buffer): void {
  call('C_DestroyObject', () => session.cryptoki.C_DestroyObject(session.handle, key))
  if (findKeys(session, label, keyId).length === 0) return
  throw new KeyturnError('hsm-failed', `key "${label}" is still there after C_DestroyObject`, {
    hint: "destroy it with the HSM vendor's tool, by label and id",
  })
}

/** A CK_ULONG attribute: 8 bytes little-endian here, 4 on 32-bit modules. */
function ulong(value: Buffer): number {
  return value.length === 8
    ? Number(value.readBigUInt64LE())
    : value.length === 4
      ? value.readUInt32LE()
      : -1
}
