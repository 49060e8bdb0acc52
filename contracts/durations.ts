/**
 * A duration as messages and tables show it: `0.3 s`, `45 s`, `10 min`, `2 h 15 min`, `30 days`. Long durations are rounded
 * to the unit shown.
 */
export function inWords(milliseconds: number): string {
  const total = Math.max(milliseconds, 0) / 1000
  if (total < 9.95) return `${Number(total.toFixed(1))} s`
  if (total < 119.5) return `${Math.round(total)} s`
  const minutes = Math.round(total / 60)
  if (minutes < 120) return `${minutes} min`
  if (minutes < 2880) {
    const [hours, rest] = [Math.floor(minutes / 60), minutes % 60]
    return rest === 0 ? `${hours} h` : `${hours} h ${rest} min`
  }
  return `${Math.round(total / 86_400)} days`
}
