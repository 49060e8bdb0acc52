import { createRequire } from 'node:module'
import type * as Pkcs11js from 'pkcs11js'
import { KeyturnError } from '../../../contracts/errors.ts'
import { reasonOf } from '../../../contracts/reasons.ts'
import {
  CKR_ATTRIBUTE_SENSITIVE,
  CKR_ATTRIBUTE_TYPE_INVALID,
  CKR_CRYPTOKI_ALREADY_INITIALIZED,
} from '../wire/ckr-codes.ts'
import { CkrError } from '../wire/errors.ts'

/**
 * The one file that touches pkcs11js, in lanes only: every call blocks its thread, and a bad module can crash the
 * process. Handles are 8-byte Buffers, meaningless outside the process that got them.
 */
export type Handle = Buffer
export interface Attribute {
  type: number
  value?: number | boolean | string | Buffer
}
export type Cryptoki = Pkcs11js.PKCS11

/** The PKCS#11 v3.1 numbers in use, under their standard names. */
export const ck = {
  CKF_OS_LOCKING_OK: 2,
  CKF_RW_SESSION: 2,
  CKF_SERIAL_SESSION: 4,
  CKU_USER: 1,
  /** Thales Luna only (its cryptoki_v2.h): the crypto user, who may use keys but not change them. */
  CKU_LIMITED_USER: 0x8000_0001,
  CKS_RO_PUBLIC_SESSION: 0,
  CKS_RW_PUBLIC_SESSION: 2,
  CKS_RW_USER_FUNCTIONS: 3,
  CKO_SECRET_KEY: 4,
  CKK_AES: 0x1f,
  CKM_AES_KEY_GEN: 0x1080,
  CKM_AES_GCM: 0x1087,
  CKA_CLASS: 0,
  CKA_VALUE: 0x11,
  CKA_TOKEN: 1,
  CKA_PRIVATE: 2,
  CKA_LABEL: 3,
  CKA_KEY_TYPE: 0x100,
  CKA_ID: 0x102,
  CKA_SENSITIVE: 0x103,
  CKA_ENCRYPT: 0x104,
  CKA_DECRYPT: 0x105,
  CKA_WRAP: 0x106,
  CKA_UNWRAP: 0x107,
  CKA_VALUE_LEN: 0x161,
  CKA_EXTRACTABLE: 0x162,
  CKA_NEVER_EXTRACTABLE: 0x164,
  CKA_ALWAYS_SENSITIVE: 0x165,
  CKA_MODIFIABLE: 0x170,
} as const

/** pkcs11js: parameters of type 25 are CK_GCM_PARAMS with ulIvBits; type 3 leaves that member unset. */
const CK_PARAMS_GCM = 25

/**
 * Loads and initializes the module. Throws module-missing. An initialization by another thread is shared. `parameters` go
 * into pReserved of CK_C_INITIALIZE_ARGS: LibraryParameters for NSS; Kryoptic and YubiHSM 2 read theirs there too.
 */
export function openModule(path: string, parameters: string | null): Cryptoki {
  const { PKCS11 } = createRequire(import.meta.url)('pkcs11js') as typeof Pkcs11js
  const cryptoki = new PKCS11()
  try {
    cryptoki.load(path)
  } catch (error) {
    throw notLoadable(path, error)
  }
  try {
    const flags = ck.CKF_OS_LOCKING_OK
    // pkcs11js passes the text on without its last character.
    const options = parameters === null ? { flags } : { flags, libraryParameters: `${parameters} ` }
    call('C_Initialize', () => cryptoki.C_Initialize(options))
  } catch (error) {
    if (!(error instanceof CkrError && error.ckr === CKR_CRYPTOKI_ALREADY_INITIALIZED)) throw error
  }
  return cryptoki
}

/** The message contains that of the dynamic linker, which names a missing library or symbol. */
function notLoadable(path: string, cause: unknown): KeyturnError {
  const reason = reasonOf(cause)
  return new KeyturnError(
    'module-missing',
    `the PKCS#11 module "${path}" cannot be loaded: ${reason.replace(`${path}: `, '')}`,
    { hint: loadHint(path, reason), cause },
  )
}

function loadHint(path: string, reason: string): string {
  const [, missing] = /^([^:]+): cannot open shared object file/.exec(reason) ?? []
  if (missing !== undefined && missing !== path) {
    return `the module links to "${missing}": install it, or add its folder to LD_LIBRARY_PATH or /etc/ld.so.conf.d`
  }
  if (/undefined symbol: C_GetFunctionList/.test(reason)) {
    return 'the file is a library but not a PKCS#11 module: check kek.pkcs11.module_path'
  }
  if (/undefined symbol|version .* not found/i.test(reason)) {
    return "the vendor's client needs other versions of this host's libraries: run ldd on the module"
  }
  if (/wrong ELF class|invalid ELF header|file too short|cannot read file data/i.test(reason)) {
    return 'check kek.pkcs11.module_path: the file is not a library for this machine'
  }
  return "check kek.pkcs11.module_path, and that the vendor's client and the libraries that it links to are installed"
}

/** Runs one call and turns its error into a CkrError (C_FindObjects throws a plain Error with the code in its text). */
export function call<T>(method: string, use: () => T): T {
  try {
    return use()
  } catch (error) {
    const known = (error as { code?: unknown }).code
    if (typeof known === 'number' && known > 0) throw new CkrError(method, known)
    const inText = /CKR_[A-Z0-9_]+:(\d+)/.exec(String(error))?.[1]
    if (inText !== undefined) throw new CkrError(method, Number(inText))
    throw error
  }
}

export function openSession(cryptoki: Cryptoki, slot: Handle): Handle {
  const flags = ck.CKF_SERIAL_SESSION | ck.CKF_RW_SESSION
  return call('C_OpenSession', () => cryptoki.C_OpenSession(slot, flags))
}

/** Finds up to `most` objects. */
export function findObjects(
  cryptoki: Cryptoki,
  session: Handle,
  template: Attribute[],
  most: number,
): Handle[] {
  call('C_FindObjectsInit', () => cryptoki.C_FindObjectsInit(session, template as never))
  try {
    const found: Handle[] = []
    for (;;) {
      const some = call('C_FindObjects', () => cryptoki.C_FindObjects(session, most))
      found.push(...some)
      if (some.length === 0 || found.length >= most) return found
    }
  } finally {
    call('C_FindObjectsFinal', () => cryptoki.C_FindObjectsFinal(session))
  }
}

/** One attribute's bytes; null when the token does not know it or does not reveal it. Read one at a time: a sensitive one fails the whole call. */
export function attribute(
  cryptoki: Cryptoki,
  session: Handle,
  object: Handle,
  type: number,
): Buffer | null {
  try {
    const [found] = call('C_GetAttributeValue', () =>
      cryptoki.C_GetAttributeValue(session, object, [{ type }]),
    )
    return found?.value ?? null
  } catch (error) {
    const notThere = [CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID]
    if (error instanceof CkrError && notThere.includes(error.ckr)) return null
    throw error
  }
}

export interface GcmCall {
  key: Handle
  iv: Buffer
  ivBits: number
  aad: Buffer
}

/** Single-part C_EncryptInit and C_Encrypt. The module may write to `gcm.iv`; the result is a view of `output`. */
export function encrypt(
  cryptoki: Cryptoki,
  session: Handle,
  gcm: GcmCall,
  input: Buffer,
  output: Buffer,
): Buffer {
  const mechanism = gcmMechanism(gcm)
  call('C_EncryptInit', () => cryptoki.C_EncryptInit(session, mechanism, gcm.key))
  return call('C_Encrypt', () => cryptoki.C_Encrypt(session, input, output))
}

/** Single-part C_DecryptInit and C_Decrypt. `output` must be as long as the input: SoftHSM2 requires it. */
export function decrypt(
  cryptoki: Cryptoki,
  session: Handle,
  gcm: GcmCall,
  input: Buffer,
  output: Buffer,
): Buffer {
  const mechanism = gcmMechanism(gcm)
  call('C_DecryptInit', () => cryptoki.C_DecryptInit(session, mechanism, gcm.key))
  return call('C_Decrypt', () => cryptoki.C_Decrypt(session, input, output))
}

function gcmMechanism({ iv, ivBits, aad }: GcmCall): Pkcs11js.Mechanism {
  return {
    mechanism: ck.CKM_AES_GCM,
    parameter: { type: CK_PARAMS_GCM, iv, ivBits, aad, tagBits: 128 } as Pkcs11js.IParams,
  }
}
