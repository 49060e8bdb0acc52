import type { Vendor } from './vendor.ts'

/**
 * Read: ibm.com/docs/en/linuxonibm/lxoc, "PKCS #11 mechanisms supported by the CCA token" (CKM_AES_GCM from 3.25 on) and
 * the manual page opencryptoki.conf(5) (the daemon pkcsslotd). Run: the soft token of 3.8.1 (Debian 12) has no
 * CKM_AES_GCM; without the daemon C_Initialize answers CKR_FUNCTION_FAILED.
 */
export const openCryptoki: Vendor = {
  name: 'IBM openCryptoki',
  support: 'doubtful',
  caution:
    'AES-GCM depends on the token: CCA has it from 3.25 on, the soft token of Debian 12 does not',
  file: /^(libopencryptoki|PKCS11_API)\./,
  manufacturer: /^IBM/,
  pin: 'the user PIN of the token (pkcsconf -u sets it)',
  ivModes: [],
  hints: [
    {
      when: { method: 'C_Initialize' },
      hint: 'openCryptoki needs its daemon pkcsslotd, and a process whose user is in the group pkcs11',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'pkcsconf -t lists the tokens; a new one must be initialized first (pkcsconf -I)',
    },
    {
      when: { code: 'mechanism-missing' },
      hint: 'AES-GCM depends on the token in the slot: CCA has it from openCryptoki 3.25 on; pkcsconf -m -c SLOT lists its mechanisms',
    },
  ],
  page: 'docs/hsm/ibm-opencryptoki.md',
}
