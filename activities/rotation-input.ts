import { KeyturnError } from '../contracts/errors.ts'
import type { RotateInput, SweepWindow } from '../contracts/rotation.ts'
import { timeZoneNamed } from '../protocol/local-time.ts'

const lastVersion = 2 ** 31 - 1
const mostInPage = 5_000
const mostRanges = 1_000
const longestText = 1_000

/**
 * Validates the input of preflight before it becomes a row, which all later steps use. Anyone with access to the Temporal
 * namespace can write an input, so each member is checked. Throws usage.
 */
export function checkedRotation(input: RotateInput): RotateInput {
  const { rotation, from, to, page, shards, check, priority = 'rotation' } = input
  const { maxRate, maxHsmCalls, requestedBy, reason, window = null } = input
  if (!isText(rotation) || rotation === '') throw forged('rotation', rotation)
  for (const version of [from, to])
    if (!isWithin(version, lastVersion)) throw forged('version', version)
  if (!isWithin(page, mostInPage)) throw forged('page', page)
  if (shards !== 'auto' && !isWithin(shards, mostRanges)) throw forged('shards', shards)
  if (!['all', 'sampled', 'none'].includes(check)) throw forged('check', check)
  if (!['rotation', 'applications'].includes(priority)) throw forged('priority', priority)
  for (const limit of [maxRate, maxHsmCalls]) {
    if (!Number.isFinite(limit) || limit < 0) throw forged('limit', limit)
  }
  if (window !== null && !isWindow(window)) throw forged('window', window)
  for (const text of [requestedBy, reason]) if (!isText(text)) throw forged('text', text)
  return input
}

function isWindow({ fromMs, toMs, timeZone }: SweepWindow): boolean {
  const isOfDay = (ms: number) => Number.isInteger(ms) && ms >= 0 && ms < 86_400_000
  return isOfDay(fromMs) && isOfDay(toMs) && isText(timeZone) && timeZoneNamed(timeZone) !== null
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.length <= longestText
}

function isWithin(value: unknown, most: number): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most
}

function forged(what: string, value: unknown): KeyturnError {
  const shown = (typeof value === 'string' ? value : JSON.stringify(value ?? null)).slice(0, 100)
  return new KeyturnError('usage', `a rotation was requested with ${what} "${shown}"`, {
    hint: 'rotations are requested with: keyturn rotate',
  })
}
