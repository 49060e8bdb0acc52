import { loadClientConnectConfig } from '@temporalio/envconfig'
import { KeyturnError } from '../contracts/errors.ts'
import type { Config } from '../contracts/settings.ts'
import { requireTemporalAddress, temporalVariables } from './temporal-variables.ts'

type Standard = ReturnType<typeof loadClientConnectConfig>['connectionOptions']

/** Temporal's address, namespace and credentials. */
export interface TemporalEndpoint {
  address: string
  namespace: string
  /** TLS, API key and metadata from the standard environment configuration. */
  security: Pick<Standard, 'tls' | 'apiKey' | 'metadata'>
}

/**
 * Address and namespace in the file win over the standard Temporal environment configuration (TEMPORAL_* variables,
 * profiles in temporal.toml), which also supplies TLS, mTLS and API keys. Throws config-invalid.
 */
export function temporalEndpoint(config: Config): TemporalEndpoint {
  const variables = temporalVariables(process.env)
  let standard: ReturnType<typeof loadClientConnectConfig>
  try {
    standard = loadClientConnectConfig({ overrideEnvVars: variables })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause)
    throw new KeyturnError('config-invalid', `temporal's own configuration: ${reason ?? ''}`, {
      hint: 'look at temporal.toml and the TEMPORAL_* variables',
      cause,
    })
  }
  const { tls, apiKey, metadata, address } = standard.connectionOptions
  return {
    address:
      config.temporal.address ?? requireTemporalAddress(address ?? '127.0.0.1:7233', variables),
    namespace: config.temporal.namespace ?? standard.namespace ?? 'default',
    security: {
      ...(tls === undefined ? {} : { tls }),
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(metadata === undefined ? {} : { metadata }),
    },
  }
}
