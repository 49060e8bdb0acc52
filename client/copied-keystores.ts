import type { Config } from '../contracts/settings.ts'

/** The configurations whose keystore was found to be a copy, so that every command can say so beside its answer. */
const copied = new WeakSet<Config>()

export function noteCopied(config: Config): void {
  copied.add(config)
}

/** Whether the keystore of this configuration was opened, and was a copy. */
export function isKnownCopied(config: Config): boolean {
  return copied.has(config)
}

/** After a person has said what it is. */
export function forgetCopied(config: Config): void {
  copied.delete(config)
}
