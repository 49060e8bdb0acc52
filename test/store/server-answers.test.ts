import { MongoServerError } from 'mongodb'
import { describe, expect, test } from 'vitest'
import type { KeyturnError } from '../../contracts/errors.ts'
import { asStoreError } from '../../store/store-errors.ts'

describe("a server's answer", () => {
  test.each([
    [13, 'Unauthorized', 'mongodb-refused', /readWrite/],
    [10107, 'NotWritablePrimary', 'mongodb-unreachable', /./],
    [189, 'PrimarySteppedDown', 'mongodb-unreachable', /./],
    [91, 'ShutdownInProgress', 'mongodb-unreachable', /./],
    [50, 'MaxTimeMSExpired', 'mongodb-unreachable', /./],
    [14031, 'OutOfDiskSpace', 'mongodb-refused', /disk/],
    [86, 'IndexKeySpecsConflict', 'mongodb-refused', /./],
    [79, 'UnknownReplWriteConcern', 'mongodb-refused', /rs\.conf/],
  ])('%i %s becomes %s, with the server’s text', (code, codeName, expected, hint) => {
    const error = new MongoServerError({ message: 'The words.', code, codeName })
    const known = asStoreError(error, 'mongodb at "a"') as KeyturnError
    expect(known).toMatchObject({ code: expected, cause: error })
    expect(known.message).toMatch(/^mongodb at "a" .*the words/)
    expect(known.hint).toMatch(hint)
  })
})
