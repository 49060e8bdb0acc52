import { proxyActivities } from '@temporalio/workflow'

/** A step of Keyturn, as anyone with access to the Temporal namespace can call it. */
export interface ForgedStep {
  queue: string
  name: string
  input: object
}

type Anything = Record<string, (input: object) => Promise<unknown>>

/** Calls each step once, and returns the results. */
export async function forge(steps: ForgedStep[]): Promise<string[]> {
  const answers: string[] = []
  for (const { queue, name, input } of steps) {
    const activities = proxyActivities<Anything>({
      taskQueue: queue,
      startToCloseTimeout: '20s',
      scheduleToCloseTimeout: '20s',
      retry: { maximumAttempts: 1 },
    })
    try {
      const answer = await activities[name]?.(input)
      answers.push(`${name}: ${JSON.stringify(answer)}`)
    } catch (error) {
      answers.push(`${name}: ${String((error as Error).cause)}`)
    }
  }
  return answers
}
