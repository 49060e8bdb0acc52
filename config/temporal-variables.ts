import { existsSync } from 'node:fs'
import { KeyturnError } from '../contracts/errors.ts'
import { isTemporalAddress, notAnAddress } from './temporal-address.ts'

/** What a value must be. `isSecret`: no message shows it. */
interface Rule {
  readonly isGood: (value: string) => boolean
  readonly must: string
  readonly isSecret?: true
}

/** Anything else is `false` for Temporal's SDK, also `TRUE` and `yes`. */
const flag: Rule = {
  isGood: (value) => /^(true|false|1|0)$/.test(value),
  must: 'must be "true" or "false"',
}
/** Such values travel as headers. */
const header: Rule = {
  isGood: (value) => /^[ -~]+$/.test(value),
  must: 'must be printable ASCII in one line',
  isSecret: true,
}
const rules: Readonly<Record<string, Rule>> = {
  TEMPORAL_TLS: flag,
  TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: flag,
  TEMPORAL_API_KEY: header,
  // The SDK ignores a missing file.
  TEMPORAL_CONFIG_FILE: { isGood: existsSync, must: 'must be the path of an existing file' },
}
const metadata = 'TEMPORAL_GRPC_META_'

/** The SDK silently sends no certificate without its key. */
const pairs = [['TEMPORAL_TLS_CLIENT_CERT', 'TEMPORAL_TLS_CLIENT_KEY']] as const

/**
 * Temporal's variables of this environment, without empty ones, which count as unset. Refuses values that the SDK would
 * silently misread or ignore; the error names the variable. Of an address and a namespace only those that are used are checked,
 * by `requireTemporalAddress`.
 */
export function temporalVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const set = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && (entry[1] !== '' || entry[0].startsWith(metadata)),
  )
  const variables = Object.fromEntries(set)
  for (const [name, value] of set) {
    const rule = name.startsWith(metadata) ? header : rules[name]
    if (rule === undefined || value === '' || rule.isGood(value)) continue
    throw refused(name, rule.isSecret === true ? rule.must : `${rule.must}, not "${value}"`)
  }
  for (const [first, second] of pairs) {
    const [one, other] = [first, second].map((name) =>
      [`${name}_PATH`, `${name}_DATA`].find((each) => variables[each] !== undefined),
    )
    if ((one === undefined) === (other === undefined)) continue
    const lacking = one === undefined ? first : second
    throw refused(one ?? other ?? first, `needs ${lacking}_PATH or ${lacking}_DATA beside it`)
  }
  return variables
}

/** The address of Temporal's environment, which is checked as `temporal.address` is. */
export function requireTemporalAddress(
  address: string,
  variables: Readonly<Record<string, string>>,
): string {
  if (isTemporalAddress(address)) return address
  const name =
    variables['TEMPORAL_ADDRESS'] === undefined ? 'address in temporal.toml' : 'TEMPORAL_ADDRESS'
  throw refused(name, `${notAnAddress}, not "${address}"`)
}

function refused(name: string, must: string): KeyturnError {
  return new KeyturnError('config-invalid', `${name} ${must}`, {
    hint: 'the variables are those of this process: look at its unit, pod or shell',
  })
}
