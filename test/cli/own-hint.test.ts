import { describe, expect, test } from 'vitest'
import { withoutOwnHint, withoutItself } from '../../cli/ui/own-hint.ts'
import { KeyturnError } from '../../contracts/errors.ts'

describe('a hint', () => {
  test.each([
    ['doctor', 'rs.status() shows it, and keyturn doctor shows what to do', 'rs.status() shows it'],
    ['setup', 'run: keyturn setup', null],
    ['setup', 'run: keyturn setup, or align the file', 'align the file'],
    ['setup', 'run: keyturn setup; is mongodb.database right?', 'is mongodb.database right?'],
    [
      'setup',
      'drop it: db.c.dropIndex("x"), then run: keyturn setup',
      'drop it: db.c.dropIndex("x")',
    ],
    ['status', 'look at it with keyturn status, then repeat this command', 'repeat this command'],
    [
      'worker',
      'start one: keyturn worker; keyturn nodes shows the fleet',
      'keyturn nodes shows the fleet',
    ],
    ['quarantine list', 'restore it, or see: keyturn quarantine list', 'restore it'],
  ])('of %s omits its own command: %s', (command, hint, left) => {
    expect(withoutItself(hint, command)).toBe(left)
  })

  test.each([
    ['setup', 'declare which: keyturn setup --copy, --moved or --restored'],
    ['remove', 'then again: keyturn remove --version 2 --destroy-hsm-key'],
    ['nodes list', 'readmit it with: keyturn nodes expect vm-a'],
    ['status', 'run: keyturn setup'],
    ['', 'run: keyturn setup'],
  ])('of %s is unchanged when it names something else: %s', (command, hint) => {
    expect(withoutItself(hint, command)).toBe(hint)
  })

  test('that would only name its own command points to the list of codes', () => {
    const error = new KeyturnError('setup-missing', 'not set up', { hint: 'run: keyturn setup' })
    expect(withoutOwnHint(error, 'setup')).toMatchObject({
      code: 'setup-missing',
      message: 'not set up',
      hint: 'docs/troubleshooting.md tells of each code',
    })
    expect(withoutOwnHint(error, 'status')).toBe(error)
  })
})
