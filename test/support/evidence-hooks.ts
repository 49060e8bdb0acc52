import { afterEach, beforeEach } from 'vitest'
import { beginTest, endTest } from './evidence.ts'

/** Runs before each test file (vitest.config.ts), so these after hooks run last: vitest runs them in reverse order. */
beforeEach(beginTest)
afterEach(async ({ task }) => {
  await endTest(task.result?.state === 'fail' ? `${task.file.name} ${task.name}` : null)
})
