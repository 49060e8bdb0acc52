import { ApplicationFailure, ServerFailure, TerminatedFailure } from '@temporalio/common'
import { describe, expect, test } from 'vitest'
import { decodeFailure, fromReport } from '../../client/temporal/failures.ts'

describe('a failure that comes back from Temporal', () => {
  test('becomes the error that it was, with its hint', () => {
    const failure = ApplicationFailure.create({
      type: 'material-missing',
      message: '"V2" is not set on vm-a',
      details: [{ hint: 'set it' }],
    })
    const error = decodeFailure(new Error('workflow failed', { cause: failure }), 'internal')
    expect(error).toMatchObject({
      code: 'material-missing',
      message: '"V2" is not set on vm-a',
      hint: 'set it',
      exitCode: 3,
    })
  })

  test('of an unknown kind, or a termination, is what the caller says', () => {
    const unknown = ApplicationFailure.create({ type: 'TypeError', message: 'x is not a function' })
    expect(decodeFailure(unknown, 'rotation-failed')).toMatchObject({ code: 'rotation-failed' })
    const ended = new TerminatedFailure('terminated')
    expect(decodeFailure(ended, 'rotation-failed')).toMatchObject({ code: 'rotation-failed' })
    const server = new Error('failed', {
      cause: new ServerFailure('History size exceeds limit.', true),
    })
    expect(decodeFailure(server, 'rotation-failed')).toMatchObject({
      code: 'rotation-failed',
      message: 'temporal ended it: history size exceeds limit',
    })
  })

  test('that is no failure of a workflow stays what it is', () => {
    const error = new Error('socket closed')
    expect(decodeFailure(error, 'internal')).toBe(error)
  })

  test('in a result may carry a code that this version does not know', () => {
    expect(fromReport({ code: 'from-the-future', message: 'm' }, 'removal-failed')).toMatchObject({
      code: 'removal-failed',
      message: 'm',
    })
    expect(fromReport(null, 'removal-failed')).toBeNull()
  })
})
