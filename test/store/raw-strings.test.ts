import { describe, expect, test } from 'vitest'
import { elementOf, NotFaithful, rawValue } from '../../store/raw-values.ts'

/** An `_id` that cannot be given back as it came ends in quarantine, so none may be taken for one by mistake. */
describe('a string', () => {
  test('of any length is read back unchanged', () => {
    const lengths = [...Array.from({ length: 600 }, (_, n) => n), 15_000, 65_535, 200_000, 2 ** 20]
    for (const length of lengths) {
      for (const text of ['x'.repeat(length), 'ä☃'.repeat(length)])
        expect(rawValue(elementOf(text)) === text).toBe(true)
    }
  })

  test('that is not UTF-8 is not, whatever its length', () => {
    for (const length of [1, 60, 126, 127, 128, 400]) {
      const element = elementOf('x'.repeat(length))
      for (const at of [4, element.bytes.length - 2]) {
        const bytes = Buffer.from(element.bytes)
        bytes[at] = 0xff
        expect(() => rawValue({ ...element, bytes })).toThrow(NotFaithful)
      }
    }
  })
})
