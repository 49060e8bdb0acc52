const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }
type Unit = keyof typeof units

/** Milliseconds of a duration such as `500ms`, `30s`, `5m`, `24h`, `90d`, `2w`; null when it is not one. */
export function parseDuration(text: string): number | null {
  const [, digits, unit] = /^(\d+)(ms|s|m|h|d|w)$/.exec(text) ?? []
  if (digits === undefined || unit === undefined) return null
  const milliseconds = Number(digits) * units[unit as Unit]
  return Number.isSafeInteger(milliseconds) ? milliseconds : null
}

/** The shortest spelling that `parseDuration` reads back to the same number: 90000 is `90s`, 86400000 `1d`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return '0s'
  const unit = (['d', 'h', 'm', 's'] as const).find((name) => milliseconds % units[name] === 0)
  return `${milliseconds / units[unit ?? 'ms']}${unit ?? 'ms'}`
}
