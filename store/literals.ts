/** In an update by pipeline, strings that begin with `$` would be expressions. */
export function literals(fields: object): Record<string, { $literal: unknown }> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, { $literal: value as unknown }]),
  )
}
