import type { Config } from '../contracts/settings.ts'

/** The configurations whose keystore turned out to be a copy, so that every command can add a warning to its answer. */
const copied = new WeakSet<Config>()

export function noteCopied(config: Config): void {
  copied.add(config)
}

/** Whether the keystore of this configuration was opened, and was a copy. */
export function isKnownCopied(config: Config): boolean {
  return copied.has(config)
}

/** Call it after the keystore was declared moved, copied or restored. */
export function forgetCopied(config: Config): void {
  copied.delete(config)
}
