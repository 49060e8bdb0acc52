import { CKR_MECHANISM_PARAM_INVALID } from '../wire/ckr-codes.ts'
import type { Vendor } from './vendor.ts'

/**
 * Read: thalesdocs.com/gphsm/luna/7, "CKM_AES_GCM": outside FIPS mode the caller gives the IV; in FIPS mode the HSM makes
 * one and puts its 16 bytes at the end of the output; firmware 7.9.3 makes one of ulIvBits. Azure Dedicated HSM is a Luna
 * 7 with the same client. Chrystoki.conf and vtl: certautopilot.com, "PKCS#11 vendors".
 */
export const luna: Vendor = {
  name: 'Thales Luna (also Azure Dedicated HSM)',
  support: 'read',
  caution: null,
  file: /^(libCryptoki2(_64)?|libcklog2)\./i,
  manufacturer: /^(safenet|thales)/i,
  pin: 'the password of the partition’s crypto officer',
  ivModes: ['caller', 'output-suffix'],
  hints: [
    {
      when: { method: 'C_Initialize' },
      hint: 'the Luna client does not start: check /etc/Chrystoki.conf (or ChrystokiConfigurationPath) and run vtl verify',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'vtl verify lists the partitions of this client; an HA group appears under its own label',
    },
    {
      when: { code: 'iv-mode-refused' },
      hint: 'a Luna in FIPS mode makes the IV itself: set kek.pkcs11.use_gcm_iv_from_hsm to auto',
    },
    {
      when: { method: 'C_EncryptInit', ckr: CKR_MECHANISM_PARAM_INVALID },
      hint: 'a Luna in FIPS mode (HSM policy 12) refuses an IV of the caller: probe it again if it was switched to that mode',
    },
  ],
  page: 'docs/hsm/thales-luna.md',
}
