import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import type { TaskDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { limits } from './limits.ts'
import { asStoreError } from './store-errors.ts'
import type { Store } from './store.ts'

/** Bytes of a task's id. */
const idLength = 16

/** How long the row of a short task is kept, in milliseconds: longer than all its retries take. */
const shortMs = 86_400_000

/** Short tasks; their rows expire, because there may be many. */
const shortKinds: ReadonlySet<TaskDoc['kind']> = new Set(['install', 'verify'])

/**
 * Writes the row of a workflow that is about to be started, and returns its id. An activity that does not find the row has
 * another keystore open.
 */
export async function insertTask(
  store: Store,
  { kind, by }: { kind: TaskDoc['kind']; by: string },
): Promise<string> {
  const id = randomBytes(idLength).toString('hex')
  await keystore.tasks(store).updateOne(
    { _id: id },
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
    { upsert: true },
  )
  return id
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
