import { KeyturnError } from '../contracts/errors.ts'
import type { InstallInput } from '../contracts/install.ts'
import type { ProviderName } from '../contracts/kek.ts'
import type { ControlDeps } from './deps.ts'

const LAST_VERSION = 2 ** 31 - 1
/** For a CKA_LABEL that a person chose; tokens cut longer ones. */
const LONGEST_LABEL = 255
const LONGEST_NAME = 200
const origins: Record<ProviderName, readonly InstallInput['origin'][]> = {
  env: ['environment'],
  pkcs11: ['generated', 'registered'],
}

/**
 * Validates an input: anyone with access to the Temporal namespace can write one. The provider must be that of this
 * process's configuration, the origin one that the provider has, and a label or an id is used only for a registered key.
 * Throws config-differs, version-invalid or usage, which are not retried.
 */
export function checkedInput({ config, node }: ControlDeps, input: InstallInput): InstallInput {
  const { provider } = config.kek
  if (typeof (input as unknown) !== 'object' || (input as unknown) === null) {
    throw forged('no input')
  }
  if (input.provider !== provider) {
    throw new KeyturnError(
      'config-differs',
      `the worker on ${node} is configured for provider "${provider}", not "${shown(input.provider)}"`,
      { hint: 'use one kek.provider in the keyturn.yaml of all hosts' },
    )
  }
  const { version, origin, label, keyId = null } = input
  if (!Number.isInteger(version) || version < 1 || version > LAST_VERSION) {
    throw new KeyturnError('version-invalid', `"${shown(version)}" is no version`, {
      hint: `versions go from 1 to ${LAST_VERSION}`,
    })
  }
  if (!origins[provider].includes(origin)) throw forged(`origin "${shown(origin)}"`)
  if (label !== null && !isText(label, LONGEST_LABEL)) throw forged(`label "${shown(label)}"`)
  if (keyId !== null && !/^([0-9a-f]{2}){1,128}$/i.test(shown(keyId))) {
    throw forged(`key id "${shown(keyId)}"`)
  }
  const requestedBy = isText(input.requestedBy, LONGEST_NAME) ? input.requestedBy : 'unknown'
  const isRegistered = origin === 'registered'
  return {
    install: input.install,
    task: input.task,
    version,
    provider,
    origin,
    requestedBy,
    label: isRegistered ? label : null,
    keyId: isRegistered ? keyId : null,
  }
}

function isText(value: unknown, longest: number): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= longest
}

function forged(what: string): KeyturnError {
  return new KeyturnError('usage', `an installation was requested with ${what}`, {
    hint: 'keyturn env-init, pkcs11-init and pkcs11-register ask for installations',
  })
}

function shown(value: unknown): string {
  return (typeof value === 'string' ? value : JSON.stringify(value ?? null)).slice(0, 300)
}
