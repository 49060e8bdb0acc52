import type { Document } from 'mongodb'

/**
 * An aggregation's expression: the stored count, or `otherwise` if the value is not a count. So a sum
 * is a number of this language, and no row takes anything off it.
 */
export function countOr(member: string, otherwise: number): Document {
  const isCount = {
    $and: [
      { $isNumber: member },
      { $gte: [member, 0] },
      { $lt: [member, Number.MAX_SAFE_INTEGER / 1_000] },
    ],
  }
  return { $cond: [isCount, { $toLong: member }, otherwise] }
}
