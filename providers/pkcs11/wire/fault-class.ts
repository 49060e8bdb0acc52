import * as ckrCodes from './ckr-codes.ts'

/**
 * What is done about a return code of the module. `session`: open a new session, once. `reconnect`: start a new child
 * process, log in, find the keys, open the canary. `back-off`: use fewer lanes, pause, retry. `key`: look the key up again,
 * once. `data`: the envelope or the token is at fault, the canary shows which. `pin`: never retry. `never`: no retry helps.
 */
export type FaultClass = 'session' | 'reconnect' | 'back-off' | 'key' | 'data' | 'pin' | 'never'

export type CkrName = keyof typeof ckrCodes

const classes: Partial<Record<CkrName, FaultClass>> = {
  CKR_GENERAL_ERROR: 'data', // SoftHSM 2.6.1 answers a wrong tag with it
  CKR_FUNCTION_FAILED: 'back-off', // AWS CloudHSM: throttled
  CKR_DEVICE_ERROR: 'reconnect',
  CKR_DEVICE_MEMORY: 'back-off',
  CKR_DEVICE_REMOVED: 'reconnect',
  CKR_AEAD_DECRYPT_FAILED: 'data',
  CKR_ENCRYPTED_DATA_INVALID: 'data',
  CKR_ENCRYPTED_DATA_LEN_RANGE: 'data',
  CKR_KEY_HANDLE_INVALID: 'key',
  CKR_OBJECT_HANDLE_INVALID: 'key',
  CKR_OPERATION_ACTIVE: 'session',
  CKR_OPERATION_NOT_INITIALIZED: 'session',
  CKR_PIN_INCORRECT: 'pin',
  CKR_PIN_INVALID: 'pin',
  CKR_PIN_LEN_RANGE: 'pin',
  CKR_PIN_EXPIRED: 'pin',
  CKR_PIN_LOCKED: 'pin',
  CKR_SESSION_CLOSED: 'session',
  CKR_SESSION_COUNT: 'back-off',
  CKR_SESSION_HANDLE_INVALID: 'session',
  CKR_TOKEN_NOT_PRESENT: 'reconnect',
  CKR_USER_NOT_LOGGED_IN: 'reconnect',
  CKR_USER_PIN_NOT_INITIALIZED: 'pin',
  CKR_USER_TYPE_INVALID: 'pin', // some tokens count it as a wrong PIN
  CKR_CRYPTOKI_NOT_INITIALIZED: 'reconnect',
}

/** CKR_VENDOR_DEFINED: from here on a vendor decides what a code means. */
const FIRST_VENDOR_CODE = 0x8000_0000
const names = new Map<number, CkrName>(
  Object.entries(ckrCodes).map(([name, ckr]) => [ckr, name as CkrName]),
)

/** The name of a standard code; undefined for a vendor's code, and for codes that Keyturn does not know. */
export function standardName(ckr: number): CkrName | undefined {
  return names.get(ckr)
}

/** The name for a message. */
export function ckrName(ckr: number): string {
  return names.get(ckr) ?? (ckr >= FIRST_VENDOR_CODE ? 'a vendor code' : 'CKR_UNKNOWN')
}

/** The class of a return code; `never` for codes without one. */
export function faultOf(ckr: number): FaultClass {
  const name = names.get(ckr)
  return (name && classes[name]) ?? 'never'
}
