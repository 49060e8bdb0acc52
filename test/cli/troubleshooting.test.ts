import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { exitCodes } from '../../contracts/errors.ts'

const text = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8')

/** Code, exit code of its section, and the three cells. */
const entries = text.split(/^## Exit /m).flatMap((section) =>
  section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => {
      const [code = '', ...cells] = line
        .slice(1, -1)
        .split(/ \|/)
        .map((cell) => cell.trim())
      return {
        code: code.replaceAll('`', ''),
        exit: Number(section[0]),
        cells: cells.filter(Boolean),
      }
    }),
)

describe('docs/troubleshooting.md', () => {
  test('has one entry for each code, in the section of its exit code, and none without a code', () => {
    const found = entries.map(({ code, exit }) => [code, exit] as const)
    expect(new Set(found.map(([code]) => code)).size).toBe(found.length)
    expect(Object.fromEntries(found)).toEqual(exitCodes)
  })

  test.each(entries)('has symptom, cause and hint of $code', ({ cells }) => {
    expect(cells).toHaveLength(3)
  })
})
