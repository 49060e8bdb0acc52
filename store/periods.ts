import type { Document } from 'mongodb'

/**
 * Expressions for `kek_versions.periods`, to be set by the statements that make a version active and that leave it. They read
 * the row before the statement.
 */

/** The periods of a row. A row of an older build has none: its version counts as active since it was made. */
const known: Document = {
  $ifNull: [
    '$periods',
    {
      $cond: [
        { $eq: [{ $ifNull: ['$activated_at', null] }, null] },
        [],
        [{ activated_at: '$created_at', left_at: '$left_at' }],
      ],
    },
  ],
}

/** The version becomes active now. */
export const enteredNow: Document = {
  $concatArrays: [known, [{ activated_at: '$$NOW', left_at: null }]],
}

/** A settle that left the version ends now. A later one moves the end: the version was swept again. */
export const leftNow: Document = {
  $let: {
    vars: { known, last: { $subtract: [{ $size: known }, 1] } },
    in: {
      $map: {
        input: { $range: [0, { $size: '$$known' }] },
        as: 'at',
        in: {
          $mergeObjects: [
            { $arrayElemAt: ['$$known', '$$at'] },
            { $cond: [{ $eq: ['$$at', '$$last'] }, { left_at: '$$NOW' }, {}] },
          ],
        },
      },
    },
  },
}

/** The version may have been active in a state that a restore has lost: at the latest until now. */
export const perhapsActive: Document = {
  $cond: [
    { $eq: [{ $size: known }, 0] },
    [{ activated_at: '$created_at', left_at: '$$NOW' }],
    leftNow,
  ],
}
