import type { Vendor } from './vendor.ts'

/**
 * Read: docs.yubico.com/hardware/yubihsm-2/hsm-2-user-guide, "Device Specifications" (AES in ECB, CBC and CCM only) and
 * "PKCS#11 with YubiHSM 2" (PIN, configuration file, parameters of C_Initialize).
 */
export const yubiHsm2: Vendor = {
  name: 'YubiHSM 2',
  support: 'unsupported',
  caution: 'it has AES-ECB, AES-CBC and a CCM key wrap of its own, but no AES-GCM',
  file: /^yubihsm_pkcs11\./,
  manufacturer: null,
  pin: 'four hexadecimal digits of the authentication key’s id, then its password (0001password)',
  ivModes: [],
  hints: [
    {
      when: { method: 'C_Initialize' },
      hint: 'YubiHSM 2 is not supported: it has no AES-GCM (its connector was not found either: yubihsm_pkcs11.conf)',
    },
    {
      when: {},
      hint: 'YubiHSM 2 is not supported: it has AES-ECB, AES-CBC and a CCM key wrap of its own, but no AES-GCM',
    },
  ],
  page: 'docs/hsm/small-devices.md',
}

/**
 * Read: github.com/pyauth/python-pkcs11/issues/48 (no symmetric encryption on a Nitrokey HSM); certautopilot.com, "PKCS#11 vendors",
 * claims that it depends on the firmware. The token reports the manufacturer of the SmartCard-HSM inside it (OpenSC).
 */
export const nitrokeyHsm: Vendor = {
  name: 'Nitrokey HSM 2 (SmartCard-HSM)',
  support: 'doubtful',
  caution: 'no firmware is known to have AES-GCM through OpenSC',
  file: /^(onepin-)?opensc-pkcs11\./,
  manufacturer: /^www\.CardContact\.de$/,
  pin: 'the user PIN of the card',
  ivModes: [],
  hints: [
    {
      when: { code: 'token-not-found' },
      hint: 'OpenSC does not see this card: check that it is plugged in and that pcscd runs (opensc-tool --list-readers)',
    },
    {
      when: { code: 'mechanism-missing' },
      hint: 'a card without AES-GCM cannot hold a KEK: pkcs11-tool --module MODULE -M lists the mechanisms of its firmware',
    },
  ],
  page: 'docs/hsm/small-devices.md',
}

/** Read: github.com/Nitrokey/nethsm/issues/1 asks for AES-GCM and is open; AES-CBC is what it has. */
export const netHsm: Vendor = {
  name: 'Nitrokey NetHSM',
  support: 'unsupported',
  caution: 'it has AES-CBC, but no AES-GCM',
  file: /^libnethsm_pkcs11\./,
  manufacturer: /^Nitrokey/i,
  pin: 'the password of an operator, unless its configuration file has it',
  ivModes: [],
  hints: [{ when: {}, hint: 'NetHSM is not supported: it has AES-CBC, but no AES-GCM' }],
  page: 'docs/hsm/small-devices.md',
}
