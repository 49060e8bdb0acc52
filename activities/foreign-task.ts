import { KeyturnError } from '../contracts/errors.ts'
import { hasTask } from '../store/kek-tasks.ts'
import type { ControlDeps, Queue } from './deps.ts'

/** What the input of every activity has: the row that the command wrote in its database before it started the workflow. */
export interface TaskInput {
  task: string
}

/**
 * The check in front of every activity: is this the keystore in which the work was asked for. A copy of the database
 * under the same name, or a forged workflow, is met here. Throws `foreign-task`, which another worker may cure, and
 * tells this process, which then takes no more from that queue. Throws mongodb-unreachable within two seconds.
 */
export function ownTask(deps: ControlDeps, queue: Queue): (input: unknown) => Promise<void> {
  return async (input) => {
    const task = taskOf(input)
    // What comes from outside is no filter: only a text is looked for.
    if (task !== null && (await hasTask(deps.store, task))) return
    deps.onForeignTask?.(queue, task)
    throw new KeyturnError(
      'foreign-task',
      `task "${task ?? 'without an id'}" was not asked for in "${deps.store.db.databaseName}" of ${deps.node}`,
      { hint: 'this worker has another keystore open: compare mongodb.uri and mongodb.database' },
    )
  }
}

function taskOf(input: unknown): string | null {
  if (typeof input !== 'object' || input === null || !('task' in input)) return null
  return typeof input.task === 'string' ? input.task : null
}
