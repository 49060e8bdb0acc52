import {
  CKR_ARGUMENTS_BAD,
  CKR_GENERAL_ERROR,
  CKR_USER_NOT_LOGGED_IN,
  CKR_USER_TYPE_INVALID,
} from '../wire/ckr-codes.ts'
import type { Vendor } from './vendor.ts'

const onOneHost = 'its keys are a file on one host: for development and tests'

/** Run with 2.6.1 of Debian 12. AES-GCM came with 2.4: github.com/softhsm/SoftHSMv2/issues/491. */
export const softHsm2: Vendor = {
  name: 'SoftHSM2',
  support: 'run',
  caution: onOneHost,
  file: /^libsofthsm2\./,
  manufacturer: /^SoftHSM project$/,
  pin: 'the user PIN of softhsm2-util --init-token',
  ivModes: ['caller'],
  hints: [
    {
      when: { method: 'C_Initialize', ckr: CKR_GENERAL_ERROR },
      hint: 'SoftHSM2 cannot read its configuration or its token folder: check SOFTHSM2_CONF and directories.tokendir for this user',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'softhsm2-util --show-slots lists the tokens: run it as the same user, with the same SOFTHSM2_CONF',
    },
    {
      when: { code: 'mechanism-missing' },
      hint: 'SoftHSM2 has AES-GCM from 2.4 on',
    },
  ],
  page: 'docs/hsm/software.md',
}

const CKR_NSS_CERTDB_FAILED = 0xce534351 // nss/lib/util/pkcs11n.h

/** Run with 3.87 of Debian 12. Parameters: "PKCS #11 Module Specs" of Mozilla's NSS documentation. */
export const nss: Vendor = {
  name: 'NSS softokn',
  support: 'run',
  caution: onOneHost,
  file: /^libsoftokn3\./,
  manufacturer: /^Mozilla Foundation$/,
  pin: 'the password of the key database (certutil -W changes it)',
  ivModes: ['caller'],
  hints: [
    {
      when: { method: 'C_Initialize', ckr: CKR_ARGUMENTS_BAD },
      hint: `NSS needs kek.pkcs11.module_parameters, such as "configDir='sql:/etc/keyturn/nss'"`,
    },
    {
      when: { method: 'C_Initialize', ckr: CKR_NSS_CERTDB_FAILED },
      hint: 'NSS cannot open the database of module_parameters: check configDir; certutil -N -d sql:FOLDER makes one',
    },
    {
      when: { method: 'C_Login', ckr: CKR_USER_TYPE_INVALID },
      hint: 'this slot of NSS has no user: set kek.pkcs11.token_label to "NSS Certificate DB"',
    },
    {
      when: { method: 'C_GetSessionInfo', ckr: CKR_USER_NOT_LOGGED_IN },
      hint: 'Keyturn needs read-write sessions, which a read-only database refuses: remove flags=readOnly from module_parameters',
    },
    {
      when: { code: 'token-not-found' },
      hint: 'the slot of NSS that stores keys has the token "NSS Certificate DB"',
    },
  ],
  page: 'docs/hsm/software.md',
}

/** Run with 1.5.4 and OpenSSL 3.0. C_Initialize takes a text, or KRYOPTIC_CONF names a file: User_Guide.md of kryoptic-lib. */
export const kryoptic: Vendor = {
  name: 'Kryoptic',
  support: 'run',
  caution: onOneHost,
  file: /^libkryoptic_pkcs11\./,
  manufacturer: /kryoptic/i,
  pin: 'the user PIN of the token',
  ivModes: ['caller'],
  hints: [
    {
      when: { method: 'C_Initialize' },
      hint: 'Kryoptic needs its configuration, and databases it can open: set KRYOPTIC_CONF, or kek.pkcs11.module_parameters to "kryoptic_conf=/path/token.conf"',
    },
  ],
  page: 'docs/hsm/software.md',
}

/**
 * Read: CKM_AES_GCM came into p11-kit's protocol after 0.24 (patch "Add support for CKM_AES_GCM", Ingo Franzki, April
 * 2022). Run: 0.24.1 before SoftHSM2 lists no CKM_AES_GCM (test/providers/foreign-modules.test.ts), and shows no token
 * without a server.
 */
export const p11KitClient: Vendor = {
  name: 'p11-kit client',
  support: 'doubtful',
  caution:
    'it forwards calls to another host, and AES-GCM only if both sides are newer than p11-kit 0.24',
  file: /^p11-kit-client\./,
  manufacturer: null,
  pin: 'the PIN of the token that it forwards to',
  ivModes: [],
  hints: [
    {
      when: { code: 'token-not-found' },
      hint: 'p11-kit-client shows no token without a server: set P11_KIT_SERVER_ADDRESS',
    },
    {
      when: { code: 'mechanism-missing' },
      hint: 'p11-kit forwards AES-GCM only in versions after 0.24, on both sides: use the HSM vendor’s own module instead',
    },
  ],
  page: 'docs/hsm/software.md',
}

/** Run with 0.24.1 of Debian 12 over SoftHSM2. Its tokens keep their own manufacturers. */
export const p11KitProxy: Vendor = {
  name: 'p11-kit proxy',
  support: 'run',
  caution: null,
  file: /^p11-kit-proxy\./,
  manufacturer: /^PKCS#11 Kit$/,
  pin: 'the PIN of the token behind it',
  ivModes: [],
  hints: [
    {
      when: { code: 'token-not-found' },
      hint: 'p11-kit list-modules shows what the proxy loads: run it as the same user; for root p11-kit does not read ~/.config/pkcs11',
    },
  ],
  page: 'docs/hsm/software.md',
}
