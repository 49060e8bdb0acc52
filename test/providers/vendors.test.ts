import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  CKR_ARGUMENTS_BAD,
  CKR_DEVICE_ERROR,
  CKR_FUNCTION_FAILED,
  CKR_GENERAL_ERROR,
  CKR_PIN_INCORRECT,
  CKR_PIN_LOCKED,
} from '../../providers/pkcs11/wire/ckr-codes.ts'
import { CkrError, faultFrom } from '../../providers/pkcs11/wire/errors.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { withVendorHint } from '../../providers/pkcs11/vendors/vendor-hint.ts'
import { vendorHint, vendorOf, vendors } from '../../providers/pkcs11/vendors/catalogue.ts'

const hintOf = (path: string, error: Error, manufacturer: string | null = null) =>
  withVendorHint(faultFrom(error), error, vendorOf(path, manufacturer)).hint

describe('the catalogue of modules', () => {
  test.each([
    ['/usr/lib/softhsm/libsofthsm2.so', null, 'SoftHSM2'],
    ['/tmp/fault-module.so', 'SoftHSM project', 'SoftHSM2'],
    ['/opt/cloudhsm/lib/libcloudhsm_pkcs11.so', null, 'AWS CloudHSM'],
    ['/opt/cloudhsm/lib/libcloudhsm_pkcs11_standard.so', null, 'AWS CloudHSM'],
    [
      '/usr/safenet/lunaclient/lib/libCryptoki2_64.so',
      null,
      'Thales Luna (also Azure Dedicated HSM)',
    ],
    ['/opt/nfast/toolkits/pkcs11/libcknfast.so', 'nCipher Corp. Ltd', 'Entrust nShield'],
    ['/opt/utimaco/lib/libcs_pkcs11_R3.so', null, 'Utimaco CryptoServer'],
    ['/opt/fortanix/pkcs11/fortanix_pkcs11.so', null, 'Fortanix DSM'],
    ['/opt/fortanix/pkcs11/libsdkms-pkcs11.so', null, 'Fortanix DSM'],
    ['/usr/lib/opensc-pkcs11.so', 'www.CardContact.de', 'Nitrokey HSM 2 (SmartCard-HSM)'],
    ['libnethsm_pkcs11.so', null, 'Nitrokey NetHSM'],
    ['/usr/lib/x86_64-linux-gnu/pkcs11/yubihsm_pkcs11.so', 'Yubico (www.yubico.com)', 'YubiHSM 2'],
    ['/usr/lib/pkcs11/libkryoptic_pkcs11.so', null, 'Kryoptic'],
    ['/usr/lib/pkcs11/PKCS11_API.so', 'IBM', 'IBM openCryptoki'],
    ['/usr/lib/x86_64-linux-gnu/libsoftokn3.so', 'Mozilla Foundation', 'NSS softokn'],
    ['/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so', null, 'p11-kit client'],
    ['/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so', null, 'p11-kit proxy'],
    ['/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so', 'SoftHSM project', 'SoftHSM2'],
  ])('recognizes %s by file name or manufacturer', (path, manufacturer, name) => {
    expect(vendorOf(path, manufacturer)?.name).toBe(name)
  })

  test('has no entry for an unknown module', () => {
    expect(vendorOf('/opt/new/libhsm.so', 'Unknown Ltd')).toBeNull()
    expect(vendorHint(null, { code: 'pin-refused' })).toBeNull()
    const hint = hintOf('/opt/new/libhsm.so', new CkrError('C_Initialize', CKR_GENERAL_ERROR))
    expect(hint).toMatch(/^the HSM reports a general failure/)
  })

  test('has an existing page for each module, and one line for each hint', () => {
    for (const { page, hints, name } of vendors) {
      expect(existsSync(page), `${name}: ${page}`).toBe(true)
      for (const { hint } of hints) expect(hint).not.toMatch(/\n|\.$/)
    }
    expect(new Set(vendors.map(({ name }) => name)).size).toBe(vendors.length)
  })

  test('has hints for typical failures of a module', () => {
    expect(hintOf('fortanix_pkcs11.so', new CkrError('C_Login', CKR_ARGUMENTS_BAD))).toMatch(
      /cannot read its conf/,
    )
    expect(hintOf('yubihsm_pkcs11.so', new CkrError('C_Login', CKR_DEVICE_ERROR))).toMatch(
      /not supported.*GCM/,
    )
    expect(hintOf('libsoftokn3.so', new CkrError('C_Initialize', CKR_ARGUMENTS_BAD))).toMatch(
      /module_parameters/,
    )
    expect(hintOf('PKCS11_API.so', new CkrError('C_Initialize', CKR_FUNCTION_FAILED))).toMatch(
      /pkcsslotd/,
    )
  })

  test('keeps the general hint about tokens and PINs before the vendor’s', () => {
    const lost = new KeyturnError('token-not-found', 'no token', { hint: 'there are: "a"' })
    expect(hintOf('fortanix_pkcs11.so', lost)).toMatch(/^there are: "a"; .*"Fortanix Token"/)
    const refused = hintOf('libcloudhsm_pkcs11.so', new CkrError('C_Login', CKR_PIN_INCORRECT))
    expect(refused).toMatch(/does not try it a second time.*; .*user:password/)
    expect(hintOf('libcknfast.so', new CkrError('C_Login', CKR_PIN_LOCKED))).not.toMatch(
      /accelerator/,
    )
  })
})
