import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { defineConfig } from 'vitest/config'

/** Rooms whose files take a minute and more: they begin first, so that no core waits for the last of them. */
const long = /\/test\/(rotation|removal|secrets|devstack|cli|providers)\//

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification) => long.test(moduleId)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/servers.ts'],
    pool: 'forks',
    // A process takes one file after the other, so that only the first pays for loading drivers and SDKs.
    isolate: false,
    // Tests of a fleet mostly wait for heartbeats and leases, so two cores serve more than two files at once, and are late with more than three.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
    testTimeout: 240_000,
    hookTimeout: 240_000,
    reporters: ['default'],
  },
})
