import type { Vendor } from './vendor.ts'

/**
 * Read: nshielddocs.entrust.com/security-world-docs/v13.6.3/api-pkcs11, pages mechanisms (CKM_AES_GCM encrypts and
 * decrypts; some may be restricted in FIPS 140 level 3 worlds), load-sharing-mode (softcards only with
 * CKNFAST_LOADSHARING; the accelerator slot makes no private objects and its login fails) and env-variables (by default a
 * process sees the token objects of its C_Initialize only: CKNFAST_ASSUME_SINGLE_PROCESS).
 */
export const nShield: Vendor = {
  name: 'Entrust nShield',
  support: 'read',
  caution: null,
  file: /^(libcknfast|cknfast)/,
  manufacturer: /^(nCipher|Entrust)/i,
  pin: 'the passphrase of the operator card set or softcard',
  ivModes: [],
  hints: [
    {
      when: { code: 'key-not-found' },
      hint: 'an nShield client sees only keys that existed when its process started: put CKNFAST_ASSUME_SINGLE_PROCESS=0 into /opt/nfast/cknfastrc',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'softcards appear only with CKNFAST_LOADSHARING=1 in /opt/nfast/cknfastrc, card sets only while a card is inserted or preloaded',
    },
    {
      when: { method: 'C_Login', code: 'hsm-failed' },
      hint: 'the accelerator slot of nShield has no user: choose a card set, with its card inserted, or a softcard',
    },
    {
      when: { code: 'mechanism-missing' },
      hint: 'a FIPS 140 level 3 Security World may restrict AES-GCM: ask its administrator',
    },
  ],
  page: 'docs/hsm/entrust-nshield.md',
}
