import type { ClientSession, Filter } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { ProofQuestion } from '../contracts/fleet.ts'
import type { QuestionDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { isDuplicateKey } from './server-errors.ts'
import type { Store } from './store.ts'

/**
 * Asks every process of the fleet for a proof of `target`. Repeating it with the same nonce changes nothing. One question is
 * current at a time: if one for another version is still open (younger than `openMs`), this one names all versions, so that
 * its answers count for both (`countingNonces`). A malformed question is replaced, because it cannot be answered. Returns
 * when it was asked, by the database's clock.
 */
export async function askForProof(
  store: Store,
  { nonce, target, openMs }: ProofQuestion & { openMs: number },
): Promise<Date> {
  await dropMalformed(store)
  const replaced = { nonce: '$nonce', target: '$target', asked_at: '$asked_at' }
  const isOpen = { $gt: ['$$question.asked_at', { $subtract: ['$$NOW', openMs] }] }
  const isOther = { $ne: ['$$question.target', target] }
  const others = { $filter: { input: '$earlier', as: 'question', cond: isOther } }
  const known = { $concatArrays: [{ $ifNull: ['$earlier', []] }, [replaced]] }
  const earlier = {
    $cond: [
      { $eq: [{ $type: '$nonce' }, 'missing'] },
      [],
      { $filter: { input: known, as: 'question', cond: isOpen } },
    ],
  }
  try {
    await keystore.questions(store).updateOne(
      { _id: 'proof', nonce: { $ne: nonce }, 'earlier.nonce': { $ne: nonce } },
      [
        { $set: { earlier } },
        {
          $set: {
            nonce: { $literal: nonce },
            target: { $cond: [{ $eq: [others, []] }, target, null] },
            asked_at: '$$NOW',
          },
        },
      ],
      { upsert: true },
    )
  } catch (error) {
    // It exists and the filter did not match: this question was asked before, or two were first at once.
    if (!isDuplicateKey(error)) throw error
    const stored = await askedAt(store, nonce)
    return stored ?? (await askForProof(store, { nonce, target, openMs }))
  }
  return (await askedAt(store, nonce)) ?? new Date(0)
}

async function dropMalformed(store: Store): Promise<void> {
  try {
    await keystore.questions(store).findOne({ _id: 'proof' })
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.code !== 'document-malformed') throw error
    const { nonce } = (await keystore
      .questions(store)
      .findOne({ _id: 'proof' }, { projection: { nonce: 1 } })) ?? { nonce: null }
    const isText = typeof nonce === 'string' && nonce.length <= longestNonce
    // A question asked meanwhile has another nonce.
    await keystore
      .questions(store)
      .deleteOne({ _id: 'proof', ...(isText ? { nonce } : { $or: noNonce }) })
  }
}

const longestNonce = 300
const noNonce: Filter<QuestionDoc>[] = [
  { $expr: { $ne: [{ $type: '$nonce' }, 'string'] } },
  { nonce: { $not: new RegExp(`^.{0,${longestNonce}}$`, 's') } },
]

/** The open questions, and perhaps older ones; the current one is the last. */
export async function readQuestions(
  store: Store,
  session?: ClientSession,
): Promise<ProofQuestion[]> {
  const row = await keystore
    .questions(store)
    .findOne({ _id: 'proof' }, session === undefined ? {} : { session })
  return row === null ? [] : allOf(row).map(({ nonce, target }) => ({ nonce, target }))
}

/** Null if it is unknown: others have replaced it since. */
async function askedAt(store: Store, nonce: string): Promise<Date | null> {
  const row = await keystore.questions(store).findOne({ _id: 'proof' })
  if (row === null) return null
  return allOf(row).find((question) => question.nonce === nonce)?.asked_at ?? null
}

function allOf({
  nonce,
  target,
  asked_at,
  earlier = [],
}: QuestionDoc): NonNullable<QuestionDoc['earlier']> {
  return [...earlier, { nonce, target, asked_at }]
}
