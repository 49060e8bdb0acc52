import { ApplicationFailure } from '@temporalio/activity'
import { MongoMissingDependencyError, MongoNetworkError, MongoServerError } from 'mongodb'
import { expect, test } from 'vitest'
import { toFailure } from '../../activities/failures.ts'

const system = Object.assign(new Error('ENOSPC: no space left on device, write'), {
  code: 'ENOSPC',
  syscall: 'write',
})

test.each([
  [new MongoServerError({ message: 'Not authorized.', code: 13 }), 'mongodb-refused', false],
  [new MongoServerError({ message: 'No primary.', code: 10107 }), 'mongodb-unreachable', false],
  [new MongoNetworkError('Connection closed.'), 'mongodb-unreachable', false],
  [
    new MongoMissingDependencyError('No snappy.', { cause: system, dependencyName: 'snappy' }),
    'config-invalid',
    true,
  ],
  [system, 'system-refused', false],
  [new TypeError('x is not a function'), 'internal', false],
])('%o leaves an activity as %s', (error, type, nonRetryable) => {
  const failure = toFailure(error)
  expect(failure).toBeInstanceOf(ApplicationFailure)
  expect(failure).toMatchObject({ type, nonRetryable })
  expect((failure as Error).message).toContain(error.message.slice(1).replace(/\.$/, ''))
})
