import type { Vendor } from './vendor.ts'

/** Read: Utimaco, "CryptoServer PKCS#11 R2 Developer Guide", 3.2 and 4 (configuration file); R3 is named alike. */
export const utimaco: Vendor = {
  name: 'Utimaco CryptoServer',
  support: 'read',
  caution: null,
  file: /^libcs_pkcs11_R[23]\./,
  manufacturer: /^Utimaco/i,
  pin: 'the user PIN of the slot (p11tool2 sets it)',
  ivModes: [],
  hints: [
    {
      when: { method: 'C_Initialize' },
      hint: 'check Device in cs_pkcs11_R3.cfg, and that CS_PKCS11_R3_CFG (R2: CS_PKCS11_R2_CFG) names that file',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'p11tool2 ListSlots lists the slots; a slot must be initialized before it has a token',
    },
  ],
  page: 'docs/hsm/utimaco.md',
}
