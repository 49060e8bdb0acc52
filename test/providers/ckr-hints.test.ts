import { expect, test } from 'vitest'
import * as ckrCodes from '../../providers/pkcs11/wire/ckr-codes.ts'
import { CkrError, faultFrom } from '../../providers/pkcs11/wire/errors.ts'
import { faultOf } from '../../providers/pkcs11/wire/fault-class.ts'
import { laneEnvironment } from '../../providers/pkcs11/pool/lane-environment.ts'

const methods = ['C_Login', 'C_OpenSession', 'C_Encrypt', 'C_GenerateKey', 'C_Initialize']
/** All of PKCS#11 v3.1, one of a vendor, and one that does not exist. */
const codes = [...Array.from({ length: 520 }, (_, ckr) => ckr + 1), 0x8000_0001, 77_777]

test('every return code has a hint of one line', () => {
  for (const ckr of codes) {
    for (const method of methods) {
      const { hint, message } = faultFrom(new CkrError(method, ckr))
      expect(hint, message).toMatch(/^.{20,}[^.]$/)
    }
  }
})

test('every return code that no retry fixes has a hint of its own', () => {
  for (const [name, ckr] of Object.entries(ckrCodes)) {
    if (faultOf(ckr) !== 'never') continue
    expect(faultFrom(new CkrError('C_Encrypt', ckr)).hint, name).not.toMatch(/^look the code/)
  }
})

test('lanes get the variables that a module needs, but not those of MongoDB, Temporal or the PIN', () => {
  const own = {
    PATH: '/bin',
    HOME: '/root',
    LC_ALL: 'C',
    SOFTHSM2_CONF: 's',
    ChrystokiConfigurationPath: 'c',
    CKNFAST_LOADSHARING: '1',
    CS_PKCS11_R3_CFG: 'u',
    FORTANIX_PKCS11_CONFIG_PATH: 'f',
    NSS_LIB_PARAMS: 'n',
    KEYTURN_MONGODB_URI: 'secret',
    KEYTURN_ENCRYPTION_ENV_KEK_V1: 'secret',
    TEMPORAL_API_KEY: 'secret',
    MONGODB_URI: 'secret',
    AWS_SECRET_ACCESS_KEY: 'secret',
    NODE_OPTIONS: '--x',
    MY_PIN: 'secret',
    SOFTHSM_PIN: 'secret',
  }
  const config = {
    modulePath: 'm',
    token: { slot: 1 },
    keyLabelPrefix: 'k',
    maxSessions: 1,
    useGcmIvFromHsm: 'auto' as const,
    pinEnv: 'SOFTHSM_PIN',
    environment: { MY_HSM: 'x' },
  }
  const env = laneEnvironment(config, own)
  expect(JSON.stringify(env)).not.toContain('secret')
  expect(Object.keys(env).sort()).toEqual(
    [
      'PATH',
      'HOME',
      'LC_ALL',
      'SOFTHSM2_CONF',
      'ChrystokiConfigurationPath',
      'CKNFAST_LOADSHARING',
      'CS_PKCS11_R3_CFG',
      'FORTANIX_PKCS11_CONFIG_PATH',
      'NSS_LIB_PARAMS',
      'MY_HSM',
    ].sort(),
  )
})
