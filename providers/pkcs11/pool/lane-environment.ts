import type { Pkcs11Config } from '../../../contracts/settings.ts'

/** The variables that a lane process and an HSM's client library need: to run, and to find the vendor's configuration. */
const names: ReadonlySet<string> = new Set([
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'TMPDIR',
  'TZ',
  'LANG',
  'LANGUAGE',
  'HOSTNAME',
  'LD_LIBRARY_PATH',
  'LD_PRELOAD',
  'LD_DEBUG',
  'XDG_RUNTIME_DIR',
  'XDG_CONFIG_HOME',
  // For clients that use TLS.
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'OPENSSL_CONF',
  'OPENSSL_MODULES',
  'OPENSSL_ENGINES',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'all_proxy',
  'ChrystokiConfigurationPath',
  'KRYOPTIC_CONF',
  'YUBIHSM_PKCS11_CONF',
  'P11NETHSM_CONFIG_FILE',
  'CS_AUTH_KEYS',
  'CRYPTOSERVER',
  'PKCS11_PROXY_SOCKET',
  'PKCS11_PROXY_TLS_PSK_FILE',
])
const beginnings: readonly string[] = [
  'LC_',
  'MALLOC_',
  'SOFTHSM',
  'NSS_',
  'P11_KIT_',
  'PKCS11SPY',
  'OPENSC_',
  'CLOUDHSM_',
  'CKNFAST_',
  'NFAST_',
  'CS_PKCS11_',
  'FORTANIX_',
  'SDKMS_',
  'ET_PTKC_',
  'ET_HSM_',
  'PKCSLIB',
  'OCK_',
  'OPENCRYPTOKI',
  'ICA_',
  'ICSF_',
  'EP11_',
  'CSULINCL',
  'CSU_',
  // The fault module of test/fault-hsm.
  'FAULT_HSM_',
]

/** The environment of lane processes: the listed variables, and those that `environment` adds; never the PIN's variable. */
export function laneEnvironment(
  { environment = {}, pinEnv }: Pkcs11Config,
  own: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  const isNeeded = (name: string): boolean =>
    names.has(name) || beginnings.some((beginning) => name.startsWith(beginning))
  const inherited = Object.entries(own).filter(([name]) => isNeeded(name))
  const env: NodeJS.ProcessEnv = { ...Object.fromEntries(inherited), ...environment }
  Reflect.deleteProperty(env, pinEnv)
  return env
}
