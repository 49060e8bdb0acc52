import { KeyturnError } from '../contracts/errors.ts'
import { hasTask } from '../store/kek-tasks.ts'
import type { ControlDeps, Queue } from './deps.ts'

/** Part of every activity's input: the id of the row that the command wrote to its database before it started the workflow. */
export interface TaskInput {
  task: string
}

/**
 * The check before every activity: the work was requested in this keystore. It detects a copy of the database under the
 * same name, and forged workflows. Throws `foreign-task`, which is retried since another worker may be right, and calls
 * `onForeignTask`, so that this process takes no more from that queue. Throws mongodb-unreachable within two seconds.
 */
export function ownTask(deps: ControlDeps, queue: Queue): (input: unknown) => Promise<void> {
  return async (input) => {
    const task = taskOf(input)
    // The input is untrusted: only a string may go into the filter.
    if (task !== null && (await hasTask(deps.store, task))) return
    deps.onForeignTask?.(queue, task)
    throw new KeyturnError(
      'foreign-task',
      `task "${task ?? 'without an id'}" has no row in "${deps.store.db.databaseName}" of ${deps.node}`,
      { hint: 'this worker has another keystore open: compare mongodb.uri and mongodb.database' },
    )
  }
}

function taskOf(input: unknown): string | null {
  if (typeof input !== 'object' || input === null || !('task' in input)) return null
  return typeof input.task === 'string' ? input.task : null
}
