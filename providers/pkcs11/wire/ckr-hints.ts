import type { FaultClass } from './errors.ts'

/**
 * Hints for return codes with a specific meaning; other codes get the hint of their class, below. Meanings are from PKCS#11
 * v3.1, section 5.1, and from known uses by vendors.
 */
const hints: ReadonlyMap<number, string> = new Map([
  [1, 'the call was cancelled at the HSM: repeat the command'],
  [2, 'the module ran out of memory: look at the memory of this host, then restart the process'],
  [3, 'the slot is gone: look at the HSM client, and at kek.pkcs11.slot'],
  [
    7,
    'the module takes no such arguments: probe it (pkcs11-init --probe-only), and look at its version',
  ],
  [
    9,
    'the module wants threads of its own and may have none: ask the HSM vendor for a threaded build',
  ],
  [10, 'the module cannot lock: ask the HSM vendor for a build that is safe with threads'],
  [16, 'the token does not let this attribute be set: look at its policy'],
  [17, 'the token keeps this attribute to itself: look at its policy'],
  [18, 'the token does not know this attribute: look at its firmware, or ask the HSM vendor'],
  [
    19,
    'the token does not take this value: shorten kek.pkcs11.key_label_prefix, or look at its policy',
  ],
  [27, 'a policy of the token forbids it: look at its policy, and at what this user may do'],
  [32, 'the token does not take what is to be wrapped: probe it (pkcs11-init --probe-only)'],
  [33, 'the token does not take 32 bytes at once: probe it (pkcs11-init --probe-only)'],
  [80, 'the call was cancelled: look at the HSM, then repeat the command'],
  [84, 'the module lacks this function: look at its version, or ask the HSM vendor'],
  [98, 'the token has no 256-bit AES keys: look at its policy, or ask the HSM vendor'],
  [99, 'the key is none for AES: name another by its label or --id'],
  [101, 'the key is another one than before: look at who changes keys in this token'],
  [
    104,
    'the key may not be used for this: look at its CKA_ENCRYPT and CKA_DECRYPT, and at the token’s policy',
  ],
  [112, 'the token has no CKM_AES_GCM for this user: probe it (pkcs11-init --probe-only)'],
  [
    113,
    'the token does AES-GCM in another way: probe it (pkcs11-init --probe-only); was it switched to FIPS mode?',
  ],
  [180, 'the module wants other sessions than PKCS#11 has since v2.0: ask the HSM vendor'],
  [181, 'the token is write-protected, or this user may only read: look at its rights'],
  [182, 'sessions are open that must not be: restart the process'],
  [183, 'a session that may only read is open: restart the process'],
  [184, 'the security officer is logged in: log out there'],
  [
    208,
    'the token wants more attributes for a key: look at its policy, or have the key made by the vendor’s tool (pkcs11-register)',
  ],
  [
    209,
    'the token’s policy refuses such a key: look at it, or have the key made by the vendor’s tool (pkcs11-register)',
  ],
  [225, 'the token is not what the module expects: look at the HSM and at its client'],
  [226, 'the token is write-protected: unlock it by the HSM vendor’s tool'],
  [256, 'a user is already logged in in this process: restart it'],
  [258, 'the token has no user PIN yet: its security officer must set one'],
  [259, 'the token has no such user: look at kek.pkcs11.user_type'],
  [260, 'another user is logged in: log out there, or restart the process'],
  [261, 'too many kinds of users are logged in at the token: log some of them out'],
  [288, 'the token takes no seed: ask the HSM vendor'],
  [289, 'the token has no random numbers: it cannot make keys'],
  [
    336,
    'the module wants more room than AES-GCM needs: probe it (pkcs11-init --probe-only), and tell the HSM vendor',
  ],
  [401, 'the module is initialized already in this process: restart it'],
  [416, 'a lock of the module is broken: restart the process'],
  [417, 'a lock of the module is broken: restart the process'],
  [432, 'the token wants a new PIN: set one by the HSM vendor’s tool'],
  [433, 'the token wants a second code for its login, which keyturn has not'],
  [438, 'the HSM failed its own self-test: do not use it, and ask the HSM vendor'],
  [
    439,
    'a library that the module needs cannot be loaded: look at the installation of the HSM client',
  ],
  [512, 'an operator at the HSM refused the call'],
])

const ofClass: Record<FaultClass, string> = {
  session: 'the HSM drops sessions: look at its log and at the limits of its client',
  reconnect: "look at the HSM and its client's network and service",
  'back-off': 'the HSM is busy or full: look at its load, or lower kek.pkcs11.max_sessions',
  key: 'the key went away while it was used: look at who changes keys in this token',
  data: "the HSM fails in general: look at its log and at its client's",
  pin: 'correct the PIN, then start again: it is not tried a second time, so as not to lock the token',
  never: "look the code up in the HSM vendor's documents, and at the HSM client's log",
}

/** The hint for a return code; every code has one. */
export function ckrHint(ckr: number, fault: FaultClass): string {
  return hints.get(ckr) ?? ofClass[fault]
}
