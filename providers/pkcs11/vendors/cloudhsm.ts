import type { Vendor } from './vendor.ts'

/**
 * Read: docs.aws.amazon.com/cloudhsm/latest/userguide, pages pkcs11-pin (user:password), pkcs11-mechanisms (AES-GCM: the
 * HSM makes the IV and writes its 12 bytes to pIV, which must be zeros before), ki-pkcs11-sdk (no read-only sessions in
 * SDK 5; at most 16 KB with AES-GCM), pkcs11-library-install (a cluster of one HSM). Labels: "hsm1" in SDK 5, "cavium" in
 * SDK 3 (github.com/eclipse-keypont/crypto11/issues/87 and 18, where the log's path is from, too).
 */
export const awsCloudHsm: Vendor = {
  name: 'AWS CloudHSM',
  support: 'read',
  caution: null,
  file: /^libcloudhsm_pkcs11(_standard)?\./,
  manufacturer: null,
  pin: 'user:password of a crypto user (CU)',
  ivModes: ['hsm-writes-iv'],
  hints: [
    {
      when: { method: 'C_Initialize' },
      hint: 'the client cannot reach its cluster: run configure-pkcs11 -a IP, check customerCA.crt, and read /opt/cloudhsm/run/cloudhsm-pkcs11.log',
    },
    {
      when: { code: 'pin-refused' },
      hint: 'the PIN of AWS CloudHSM is user:password of a crypto user',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'the token is called "hsm1" in Client SDK 5 and "cavium" in SDK 3',
    },
    {
      when: { code: 'iv-mode-refused' },
      hint: 'AWS CloudHSM makes the IV itself: set kek.pkcs11.use_gcm_iv_from_hsm to true or auto',
    },
    {
      when: { method: 'C_GenerateKey' },
      hint: 'a cluster with one HSM makes no keys until disable_key_availability_check is set (configure-pkcs11)',
    },
  ],
  page: 'docs/hsm/aws-cloudhsm.md',
}
