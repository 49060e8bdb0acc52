import { CKR_ARGUMENTS_BAD } from '../wire/ckr-codes.ts'
import type { Vendor } from './vendor.ts'

/**
 * Read: certautopilot.com, "PKCS#11 vendors" (run there against eu.smartkey.io): label,
 * 32 slots of one token, forms of the PIN, an unreadable configuration, IVs of 12 bytes only.
 */
export const fortanix: Vendor = {
  name: 'Fortanix DSM',
  support: 'read',
  caution: null,
  file: /^(fortanix_pkcs11|libsdkms-pkcs11)\./,
  manufacturer: /^Fortanix/i,
  pin: 'file:///etc/fortanix/pkcs11.conf, env:VARIABLE, or the API key itself (164 characters)',
  ivModes: ['caller'],
  hints: [
    {
      when: { method: 'C_Login', ckr: CKR_ARGUMENTS_BAD },
      hint: 'Fortanix cannot read its configuration file as this user: the file needs mode 0640 and its folder 0750, with a group this user is in',
    },
    {
      when: { method: 'C_Encrypt', ckr: CKR_ARGUMENTS_BAD },
      hint: 'Fortanix accepts only IVs of 12 bytes',
    },
    {
      when: { code: 'pin-refused' },
      hint: 'an API key has exactly 164 characters and no white space: check it, or set the PIN to file://PATH of its configuration file',
    },
    {
      when: { code: 'module-missing' },
      hint: 'the module is called fortanix_pkcs11.so from 5.x on, and libsdkms-pkcs11.so before',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'the token is called "Fortanix Token", with a space; if there is no token at all, its configuration file is missing or unreadable',
    },
    {
      when: { code: 'iv-mode-refused' },
      hint: 'Fortanix lets the caller choose the IV: set kek.pkcs11.use_gcm_iv_from_hsm to auto or false',
    },
  ],
  page: 'docs/hsm/fortanix.md',
}
