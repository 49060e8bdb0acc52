import { afterAll, beforeAll, expect, test } from 'vitest'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await openFleet({ provider: 'env' })
  await fleet.fill(40)
})
afterAll(async () => {
  await fleet.close()
})

const [{ collection, field }] = places
const path = `${field}.kek_version`

/** Validators as a restored dump has them, in Keyturn's spelling or another. */
const left = [
  { validator: { $and: [{ [path]: { $ne: 2 } }] }, comesOff: true },
  { validator: { [path]: { $ne: 2 }, $jsonSchema: { bsonType: 'object' } }, comesOff: true },
  { validator: { $nor: [{ [path]: 2 }] }, comesOff: true },
  { validator: { $expr: { $ne: [`$${path}`, 2] } }, comesOff: false },
]

test.each(left)('a rotation to a version that a validator refuses is refused: %o', async (one) => {
  const { validator, comesOff } = one
  await fleet.store.db.command({ collMod: collection, validator, validationLevel: 'moderate' })
  const refused = await fleet.cli('rotate', '--to-version', '2')
  expect({ code: refused.code, error: refused.json.error.code }).toEqual({
    code: 3,
    error: 'fence-left',
  })
  expect(refused.json.error.hint).toContain('keyturn remove --version 2 --undo')
  expect(await fleet.active()).toBe(1)
  const cured = await fleet.cli('remove', '--version', '2', '--undo')
  if (comesOff) expect(cured.code).toBe(0)
  else {
    // Keyturn names a validator that it cannot remove.
    expect(cured.json.error.code).toBe('fence-left')
    await fleet.store.db.command({ collMod: collection, validator: {} })
  }
  const again = await fleet.cli('remove', '--version', '2', '--undo')
  expect(again.json.error.code).toBe('no-removal')
})

test('the rotation completes without quarantine once the validator is removed', async () => {
  await fleet.must('rotate', '--to-version', '2')
  expect(await fleet.verifyRecords()).toEqual({ 2: 40 })
})
