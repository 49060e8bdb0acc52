/**
 * How long MongoDB may take, in milliseconds. What is not done by then ends as `mongodb-unreachable`; steps of workflows
 * are then repeated, and say what they wait for.
 */
export const limits = {
  /** Until any member answers. */
  connect: 5_000,
  /** An election: members answer, and none of them is the primary yet. */
  election: 15_000,
  /** A sign of life of the primary. */
  answer: 2_000,
  /** A statement on the keystore, which is small. */
  statement: 15_000,
  /** A statement on the records of the application: a page, a census. */
  records: 10 * 60_000,
  /** The build of one index. */
  index: 6 * 3_600_000,
  /** One that somebody else builds. */
  othersIndex: 15_000,
  /** Until a majority of the members has a write. */
  majority: 8_000,
  /** A transaction with all its repeats. */
  transaction: 30_000,
} as const
