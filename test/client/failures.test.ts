import { ApplicationFailure, ServerFailure, TerminatedFailure } from '@temporalio/common'
import { describe, expect, test } from 'vitest'
import { decodeFailure, fromReport } from '../../client/temporal/failures.ts'

describe('a failure from Temporal', () => {
  test('becomes the original error, with its hint', () => {
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

  test('of an unknown kind, or a termination, gets the caller’s code', () => {
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

  test('that is not a workflow’s failure is unchanged', () => {
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
