import { proxyActivities } from '@temporalio/workflow'

export interface Forgery {
  taskQueue: string
  activity: string
  input: unknown
}

/** Starts what anyone with access to the Temporal namespace can start: a workflow that calls a product activity by name. */
export async function forge({ taskQueue, activity, input }: Forgery): Promise<unknown> {
  const steps = proxyActivities<Record<string, (input: unknown) => Promise<unknown>>>({
    taskQueue,
    startToCloseTimeout: '30s',
    scheduleToCloseTimeout: '30s',
    retry: { maximumAttempts: 1 },
  })
  return await steps[activity]?.(input)
}
