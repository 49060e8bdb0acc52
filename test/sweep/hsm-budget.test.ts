import { describe, expect, test } from 'vitest'
import { hsmBudget } from '../../sweep/hsm-budget.ts'

/** A rotation's document with its ceiling. */
function reserveUpTo(max: number) {
  let reserved = 0
  const reserve = (calls: number) => {
    if (reserved + calls > max) return Promise.resolve(false)
    reserved += calls
    return Promise.resolve(true)
  }
  return { reserve, reserved: () => reserved }
}

describe('hsmBudget', () => {
  test('admits everything and reserves nothing without a limit', async () => {
    const { reserve, reserved } = reserveUpTo(0)
    expect(await hsmBudget(0, 3, reserve).admit(1_000)).toBe(1_000)
    expect(reserved()).toBe(0)
  })

  test('reserves the calls of a page before they are made', async () => {
    const { reserve, reserved } = reserveUpTo(10_000)
    expect(await hsmBudget(10_000, 3, reserve).admit(1_000)).toBe(1_000)
    expect(reserved()).toBe(3_000)
  })

  test('uses a budget up to a few calls, then admits nothing', async () => {
    const { reserve, reserved } = reserveUpTo(10_000)
    const budget = hsmBudget(10_000, 3, reserve)
    let admitted = 0
    for (let page = 0; page < 6; page++) {
      const count = await budget.admit(1_000)
      budget.spent(count * 3)
      admitted += count
    }
    expect(admitted * 3).toBe(reserved())
    expect(reserved()).toBeGreaterThan(9_990)
    expect(await budget.admit(1_000)).toBe(0)
  })

  test('uses the rest of a reservation for the next page', async () => {
    const { reserve, reserved } = reserveUpTo(10_000)
    const budget = hsmBudget(10_000, 3, reserve)
    await budget.admit(1_000)
    budget.spent(2_063)
    await budget.admit(1_000)
    expect(reserved()).toBe(3_000 + 3_000 - (3_000 - 2_063))
  })
})
