import type { ClientSession } from 'mongodb'
import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { TaskDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { limits } from './limits.ts'
import { asStoreError } from './store-errors.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Bytes of a task's id. */
const idLength = 16

/** How long the row of a short task is kept, in milliseconds: longer than all its retries take. */
const shortMs = 86_400_000

/** Short tasks; their rows expire, because there may be many. */
const shortKinds: ReadonlySet<TaskDoc['kind']> = new Set(['install', 'verify'])

export interface NewTask extends Pick<TaskDoc, 'kind' | 'by'> {
  /** What starting the workflow means for the audit. */
  entry?: AuditEntry
}

/**
 * Writes the row of a workflow that is about to be started, and returns its id. An activity that does not find the row has
 * another keystore open.
 */
export async function insertTask(store: Store, { kind, by, entry }: NewTask): Promise<string> {
  const id = randomBytes(idLength).toString('hex')
  if (entry === undefined) await insertRow(store, { _id: id, kind, by })
  else {
    await inTransaction(store, async (session) => {
      await insertRow(store, { _id: id, kind, by }, session)
      await recordAudit(store, entry, session)
    })
  }
  return id
}

async function insertRow(
  store: Store,
  { _id, kind, by }: Pick<TaskDoc, '_id' | 'kind' | 'by'>,
  session?: ClientSession,
): Promise<void> {
  await keystore.tasks(store).updateOne(
    { _id },
    [
      {
        $set: {
          kind: { $literal: kind },
          by: { $literal: by },
          at: '$$NOW',
          expires_at: shortKinds.has(kind) ? { $add: ['$$NOW', shortMs] } : null,
        },
      },
    ],
    { upsert: true, ...(session === undefined ? {} : { session }) },
  )
}

/**
 * Whether the task belongs to this keystore. Throws `mongodb-unreachable` if the primary does not answer within two
 * seconds.
 */
export async function hasTask(store: Store, task: string): Promise<boolean> {
  const signal = AbortSignal.timeout(limits.answer)
  try {
    const row = await keystore
      .tasks(store)
      .findOne({ _id: task }, { projection: { _id: 1 }, signal })
    return row !== null
  } catch (cause) {
    if (!signal.aborted) throw asStoreError(cause)
    throw new KeyturnError(
      'mongodb-unreachable',
      `mongodb has not answered for ${limits.answer} ms`,
      {
        cause,
      },
    )
  }
}

/** Stops the workflows of these rows: their activities find no row. */
export async function withdrawTasks(store: Store): Promise<void> {
  await keystore.tasks(store).deleteMany({ kind: { $ne: 'policy' } })
}
