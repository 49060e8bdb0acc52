import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isNeededBy, lifeOf, type Period } from '../../protocol/backup-needs.ts'
import { removalGuards } from '../../protocol/removal-guards.ts'
import { at } from './fleet-facts.ts'
import { removalFactsOf } from './removal-facts-of.ts'

const life = (...periods: [number, number | null][]) => ({
  periods: periods.map(([activated, left]) => ({
    activatedAt: at(activated),
    leftAt: left === null ? null : at(left),
  })),
  destroyedAt: null,
  isHeld: false,
})

test('a backup needs the version that was active when it began, until a settle has left it', () => {
  const one = life([10, 50])
  const needed = (taken: number) => isNeededBy(at(taken), one)
  expect([9, 10, 30, 50, 51].map(needed)).toEqual([false, true, true, true, false])
  // Rotated away, then back before the first settle: only the settle of the second period ends the first.
  const twice = life([10, null], [60, 90])
  expect([50, 70, 90, 91].map((taken) => isNeededBy(at(taken), twice))).toEqual([
    true,
    true,
    true,
    false,
  ])
  const back = life([10, 50], [80, null])
  expect([55, 79, 80, 500].map((taken) => isNeededBy(at(taken), back))).toEqual([
    false,
    false,
    true,
    true,
  ])
  expect(isNeededBy(at(0), life())).toBe(false)
})

test('it needs a version of which envelopes were stepped over, and none that was destroyed before', () => {
  expect(isNeededBy(at(60), { ...life([10, 50]), isHeld: true })).toBe(true)
  expect(isNeededBy(at(5), { ...life([10, 50]), isHeld: true })).toBe(false)
  const destroyed = { ...life([10, 50]), destroyedAt: at(70) }
  expect(isNeededBy(at(30), destroyed)).toBe(true)
  expect(isNeededBy(at(71), { ...destroyed, isHeld: true })).toBe(false)
})

/** A version's history, step by step: it becomes active, is left by a promote, and may be settled. */
const histories = fc.array(fc.constantFrom('activate', 'leave', 'settle'), { maxLength: 12 })

test('whenever an envelope may be under a version, a backup of that moment needs it', () => {
  fc.assert(
    fc.property(histories, fc.nat({ max: 13 }), (steps, moment) => {
      const periods: { activatedAt: string; leftAt: string | null }[] = []
      let isActive = false
      let mayHold = false
      let mayHoldThen = false
      for (const [second, step] of steps.entries()) {
        // A backup at half a second sees what the steps before it have left.
        if (second === moment) mayHoldThen = mayHold
        if (step === 'activate' && !isActive) {
          periods.push({ activatedAt: at(second), leftAt: null })
          isActive = true
          mayHold = true
        }
        if (step === 'leave') isActive = false
        const last = periods.at(-1)
        if (step === 'settle' && !isActive && last !== undefined) {
          last.leftAt = at(second)
          mayHold = false
        }
      }
      if (moment >= steps.length) mayHoldThen = mayHold
      const found = { periods: periods as Period[], destroyedAt: null, isHeld: false }
      const needs = isNeededBy(at(moment - 0.5), found)
      // A settle that was repeated moves the end: then a backup in between needs the version too.
      if (mayHoldThen) expect(needs).toBe(true)
      // What was never active, and what was left before for good, is needed by no backup.
      const everActive = periods.some(({ activatedAt }) => activatedAt <= at(moment - 0.5))
      if (!everActive) expect(needs).toBe(false)
      const isLast = periods.every(({ leftAt }) => leftAt !== null && leftAt < at(moment - 0.5))
      if (isLast) expect(needs).toBe(false)
    }),
    { numRuns: 2_000 },
  )
})

test('a row of an older build counts as active since it was made', () => {
  const row = { created_at: new Date(at(5)), activated_at: new Date(at(70)), destroyed_at: null }
  expect(lifeOf({ ...row, left_at: new Date(at(90)) }, false)).toEqual({ ...life([5, 90]) })
  expect(lifeOf({ ...row, activated_at: null, left_at: null }, false).periods).toEqual([])
})

test('the guard fails while a backup that is kept needs the version, by both clocks', () => {
  const kept = (keepUntil: string | null, takenAt = at(-100)) => ({ name: 'b', takenAt, keepUntil })
  const found = (backups: object[], more: object = {}) => {
    const facts = removalFactsOf({ life: life([-200, -50]), backups, ...more } as never)
    return removalGuards(facts).find(({ guard }) => guard === 'backups')
  }
  expect(found([])).toMatchObject({ ok: true })
  expect(found([kept(null), kept(at(50))])).toMatchObject({ ok: false })
  expect(found([kept(null), kept(at(50))])).not.toHaveProperty('until')
  expect(found([kept(at(70)), kept(at(50))])).toMatchObject({ ok: false, until: at(70) })
  expect(found([kept(at(-1)), kept(null, at(-40))])).toMatchObject({ ok: true })
  expect(found([kept(at(-1))], { ownNow: at(-2) })).toMatchObject({ ok: false, until: at(-1) })
})
