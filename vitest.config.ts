import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'

type ProjectOptions = TestProjectInlineConfiguration['test']

/** Folders whose files take a minute and more: they begin first, so that no core waits for the last of them. */
const long = /\/test\/(promises|rotation|removal|secrets|devstack|cli|providers)\//

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification) => long.test(moduleId)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

const common: ProjectOptions = {
  setupFiles: ['test/support/evidence-hooks.ts'],
  pool: 'forks',
  // A process takes one file after the other, so that only the first pays for loading drivers and SDKs.
  isolate: false,
  testTimeout: 240_000,
  hookTimeout: 240_000,
}

/**
 * `npm test` runs the project "core": each promise once, and every test that is quick. `npm run test:all` runs "long" as
 * well, files named *.long.test.ts: attacks, model search and faults that take minutes.
 */
export default defineConfig({
  test: {
    globalSetup: ['test/support/servers.ts'],
    // Tests of a fleet mostly wait for heartbeats and leases, so two cores serve more than two files at once, and are late with more than three.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
    reporters: ['default'],
    projects: [
      {
        test: {
          ...common,
          name: 'core',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.long.test.ts'],
        },
      },
      { test: { ...common, name: 'long', include: ['test/**/*.long.test.ts'] } },
    ],
  },
})
