import { MongoBulkWriteError, MongoNetworkError } from 'mongodb'
import { expect, test } from 'vitest'
import { asStoreError } from '../../store/store-errors.ts'

test('a connection that is closed during a bulk write is no refusal', () => {
  // As the driver wraps it: an error of a server that did not answer.
  const error = new MongoBulkWriteError(
    new MongoNetworkError('connection 2 to 127.0.0.1:27017 closed'),
    {} as never,
  )
  expect(asStoreError(error)).toMatchObject({
    code: 'mongodb-unreachable',
    message: 'mongodb cannot be reached: connection 2 to 127.0.0.1:27017 closed',
  })
})
