import { standardName, type CkrName, type FaultClass } from './fault-class.ts'

/**
 * Hints for return codes with a specific meaning; other codes get the hint of their class, below. Meanings are from PKCS#11
 * v3.1, section 5.1, and from known uses by vendors.
 */
const hints: Partial<Record<CkrName, string>> = {
  CKR_CANCEL: 'the call was cancelled at the HSM: repeat the command',
  CKR_HOST_MEMORY:
    'the module ran out of memory: look at the memory of this host, then restart the process',
  CKR_SLOT_ID_INVALID:
    'the slot does not exist any more: look at the HSM client and at kek.pkcs11.slot',
  CKR_ARGUMENTS_BAD:
    'the module does not accept these arguments: probe it (pkcs11-init --probe-only), and look at its version',
  CKR_NEED_TO_CREATE_THREADS:
    'the module needs threads of its own and cannot create them: ask the HSM vendor for a threaded build',
  CKR_CANT_LOCK: 'the module does not support locking: ask the HSM vendor for a thread-safe build',
  CKR_ATTRIBUTE_READ_ONLY: 'the token does not allow this attribute to be set: look at its policy',
  CKR_ATTRIBUTE_SENSITIVE: 'the token does not reveal this attribute: look at its policy',
  CKR_ATTRIBUTE_TYPE_INVALID:
    'the token does not know this attribute: look at its firmware version, or ask the HSM vendor',
  CKR_ATTRIBUTE_VALUE_INVALID:
    'the token does not accept this value: shorten kek.pkcs11.key_label_prefix, or look at the token’s policy',
  CKR_ACTION_PROHIBITED:
    'a policy of the token forbids it: look at the policy, and at the rights of this user',
  CKR_DATA_INVALID:
    'the token does not accept the bytes to be wrapped: probe it (pkcs11-init --probe-only)',
  CKR_DATA_LEN_RANGE:
    'the token does not accept 32 bytes in one call: probe it (pkcs11-init --probe-only)',
  CKR_FUNCTION_CANCELED: 'the call was cancelled: look at the HSM, then repeat the command',
  CKR_FUNCTION_NOT_SUPPORTED:
    'the module does not have this function: look at its version, or ask the HSM vendor',
  CKR_KEY_SIZE_RANGE:
    'the token does not support 256-bit AES keys: look at its policy, or ask the HSM vendor',
  CKR_KEY_TYPE_INCONSISTENT: 'the key is not an AES key: choose another by its label or --id',
  CKR_KEY_CHANGED: 'the key was changed: find out who changes keys in this token',
  CKR_KEY_FUNCTION_NOT_PERMITTED:
    'the key may not be used for this: look at its CKA_ENCRYPT and CKA_DECRYPT, and at the token’s policy',
  CKR_MECHANISM_INVALID:
    'the token does not offer CKM_AES_GCM to this user: probe it (pkcs11-init --probe-only)',
  CKR_MECHANISM_PARAM_INVALID:
    'the token expects other parameters of AES-GCM, as after a switch to FIPS mode: probe it (pkcs11-init --probe-only)',
  CKR_SESSION_PARALLEL_NOT_SUPPORTED:
    'the module refuses the sessions that PKCS#11 has had since v2.0: ask the HSM vendor',
  CKR_SESSION_READ_ONLY:
    'the token is write-protected, or this user may only read: look at the token and at the user’s rights',
  CKR_SESSION_EXISTS: 'sessions are open that must be closed first: restart the process',
  CKR_SESSION_READ_ONLY_EXISTS: 'a read-only session is open: restart the process',
  CKR_SESSION_READ_WRITE_SO_EXISTS: 'the security officer is logged in: end that login',
  CKR_TEMPLATE_INCOMPLETE:
    'the token requires more attributes for a key: look at its policy, or make the key with the vendor’s tool and register it (pkcs11-register)',
  CKR_TEMPLATE_INCONSISTENT:
    'the token’s policy refuses such a key: look at the policy, or make the key with the vendor’s tool and register it (pkcs11-register)',
  CKR_TOKEN_NOT_RECOGNIZED:
    'the module does not recognize the token: look at the HSM and at its client',
  CKR_TOKEN_WRITE_PROTECTED: 'the token is write-protected: unlock it with the HSM vendor’s tool',
  CKR_USER_ALREADY_LOGGED_IN: 'a user is already logged in in this process: restart the process',
  CKR_USER_PIN_NOT_INITIALIZED: 'the token has no user PIN yet: its security officer must set one',
  CKR_USER_TYPE_INVALID: 'the token has no user of this type: look at kek.pkcs11.user_type',
  CKR_USER_ANOTHER_ALREADY_LOGGED_IN:
    'another user is logged in: end that login, or restart the process',
  CKR_USER_TOO_MANY_TYPES:
    'too many types of users are logged in to the token: end some of these logins',
  CKR_RANDOM_SEED_NOT_SUPPORTED: 'the token does not accept a seed: ask the HSM vendor',
  CKR_RANDOM_NO_RNG: 'the token has no random number generator: it cannot make keys',
  CKR_BUFFER_TOO_SMALL:
    'the module needs a larger buffer than AES-GCM does: probe it (pkcs11-init --probe-only), and report it to the HSM vendor',
  CKR_CRYPTOKI_ALREADY_INITIALIZED:
    'the module is already initialized in this process: restart the process',
  CKR_MUTEX_BAD: 'a mutex of the module is broken: restart the process',
  CKR_MUTEX_NOT_LOCKED: 'a mutex of the module is broken: restart the process',
  CKR_NEW_PIN_MODE: 'the token requires a new PIN: set one with the HSM vendor’s tool',
  CKR_NEXT_OTP: 'the token requires a one-time code at login, which keyturn does not support',
  CKR_FIPS_SELF_TEST_FAILED:
    'the HSM failed its own self-test: do not use it, and ask the HSM vendor',
  CKR_LIBRARY_LOAD_FAILED:
    'a library that the module needs cannot be loaded: look at the installation of the HSM client',
  CKR_FUNCTION_REJECTED: 'an operator at the HSM refused the call',
}

const ofClass: Record<FaultClass, string> = {
  session: 'the HSM drops sessions: look at its log and at the limits of its client',
  reconnect: "look at the HSM and its client's network and service",
  'back-off': 'the HSM is busy or full: look at its load, or lower kek.pkcs11.max_sessions',
  key: 'the key disappeared while it was in use: find out who changes keys in this token',
  data: "the HSM reports a general failure: look at its log and at its client's log",
  pin: 'correct the PIN, then start again: keyturn does not try it a second time, so that it does not lock the token',
  never: "look the code up in the HSM vendor's documents, and look at the HSM client's log",
}

/** The hint for a return code; every code has one. */
export function ckrHint(ckr: number, fault: FaultClass): string {
  const name = standardName(ckr)
  return (name && hints[name]) ?? ofClass[fault]
}
