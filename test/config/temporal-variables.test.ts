import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { temporalEndpoint } from '../../config/temporal-endpoint.ts'
import { fault, freshFolder, least, load } from './files.ts'

/** The endpoint of a file with only these variables. */
function endpoint(env: Record<string, string>, file = least) {
  // Without this, the tests would read the user's own temporal.toml.
  vi.stubEnv('XDG_CONFIG_HOME', freshFolder())
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  try {
    return temporalEndpoint(load(file))
  } finally {
    vi.unstubAllEnvs()
  }
}
const found = (env: Record<string, string>, file?: string) => fault(() => endpoint(env, file))

describe("Temporal's variables", () => {
  test.each([
    ['TEMPORAL_ADDRESS', 'http://127.0.0.1:7233'],
    ['TEMPORAL_ADDRESS', ' t:7233'],
    ['TEMPORAL_ADDRESS', 't:7233\n'],
    ['TEMPORAL_TLS', 'TRUE'],
    ['TEMPORAL_TLS', 'yes'],
    ['TEMPORAL_TLS_DISABLE_HOST_VERIFICATION', 'on'],
    ['TEMPORAL_CONFIG_FILE', '/nowhere/temporal.toml'],
  ])('%s is refused when it is %j', (name, value) => {
    expect(found({ [name]: value })).toMatch(
      new RegExp(`^config-invalid: ${name} must .*, not "${value}" \\| the variables are`),
    )
  })

  test.each(['TEMPORAL_API_KEY', 'TEMPORAL_GRPC_META_X_TENANT'])(
    '%s is refused without showing it when it is not a header',
    (name) => {
      const message = found({ [name]: 's3cret\nkey' })
      expect(message).toContain(`config-invalid: ${name} must be printable ASCII in one line |`)
      expect(message).not.toContain('s3cret')
    },
  )

  test.each([
    ['TEMPORAL_TLS_CLIENT_CERT_PATH', 'TEMPORAL_TLS_CLIENT_KEY'],
    ['TEMPORAL_TLS_CLIENT_KEY_DATA', 'TEMPORAL_TLS_CLIENT_CERT'],
  ])('%s is refused without %s', (name, lacking) => {
    expect(found({ [name]: 'x' })).toContain(`${name} needs ${lacking}_PATH or ${lacking}_DATA`)
  })

  test('an address in temporal.toml is checked like TEMPORAL_ADDRESS', () => {
    const file = path.join(freshFolder(), 'temporal.toml')
    writeFileSync(file, '[profile.default]\naddress = "https://t:7233"\n')
    expect(found({ TEMPORAL_CONFIG_FILE: file })).toContain('address in temporal.toml must be')
  })

  test('count as unset when they are empty, and TEMPORAL_ADDRESS is not checked when the file has an address', () => {
    const empty = Object.fromEntries(
      ['ADDRESS', 'NAMESPACE', 'TLS', 'API_KEY', 'PROFILE'].map((name) => [`TEMPORAL_${name}`, '']),
    )
    expect(endpoint(empty)).toEqual({
      address: '127.0.0.1:7233',
      namespace: 'default',
      security: {},
    })
    const named = `${least}temporal: { address: "t:7233" }\n`
    expect(endpoint({ TEMPORAL_ADDRESS: 'http://x' }, named)).toMatchObject({ address: 't:7233' })
    const used = { TEMPORAL_ADDRESS: 'u:7233', TEMPORAL_NAMESPACE: 'n', TEMPORAL_TLS: 'true' }
    expect(endpoint(used)).toMatchObject({
      address: 'u:7233',
      namespace: 'n',
      security: { tls: {} },
    })
  })
})
