/** Figures as people read them: `12,345`, `1 h 4 min`, `3 days`. */

export function count(number: number): string {
  return Math.round(number).toLocaleString('en-US')
}

export function seconds(total: number): string {
  if (total < 10) return `${total.toFixed(1)} s`
  if (total < 120) return `${Math.round(total)} s`
  if (total < 7200) return `${Math.round(total / 60)} min`
  if (total < 172_800) return `${Math.floor(total / 3600)} h ${Math.round((total % 3600) / 60)} min`
  return `${Math.round(total / 86_400)} days`
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`
}
