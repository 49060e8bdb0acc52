import { inWords } from '../../contracts/durations.ts'

/** Figures as people read them: `12,345`, `1 h 4 min`, `3 days`. */

export function count(number: number): string {
  return Math.round(number).toLocaleString('en-US')
}

export function seconds(total: number): string {
  return inWords(total * 1000)
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`
}
