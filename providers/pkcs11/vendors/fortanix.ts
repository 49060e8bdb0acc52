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
      hint: 'Fortanix takes IVs of 12 bytes only',
    },
    {
      when: { code: 'pin-refused' },
      hint: 'an API key has 164 characters (no white space, not cut): better give the PIN file://PATH of its configuration file',
    },
    {
      when: { code: 'module-missing' },
      hint: 'from 5.x on the module is called fortanix_pkcs11.so, before that libsdkms-pkcs11.so',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'the token is called "Fortanix Token", with the blank; without any, its configuration file is missing or unreadable',
    },
    {
      when: { code: 'iv-mode-refused' },
      hint: 'Fortanix takes the IV from us: set kek.pkcs11.use_gcm_iv_from_hsm to auto or false',
    },
  ],
  page: 'docs/hsm/fortanix.md',
}
