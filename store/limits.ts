/**
 * Time limits for MongoDB, in milliseconds. After them a statement fails with `mongodb-unreachable`; a workflow's step is then
 * retried, and reports what it waits for.
 */
export const limits = {
  /** Until any member must have answered. */
  connect: 5_000,
  /** An election: members answer, but none is the primary yet. */
  election: 15_000,
  /** A ping of the primary. */
  answer: 2_000,
  /** A statement on the keystore, whose collections are small. */
  statement: 15_000,
  /** A statement on the application's records: a page, a census. */
  records: 10 * 60_000,
  /** The build of one index. */
  index: 6 * 3_600_000,
  /** The build of an index by another client. */
  othersIndex: 15_000,
  /** Until a majority of the members must have a write. */
  majority: 8_000,
  /** A transaction with all its retries. */
  transaction: 30_000,
} as const
