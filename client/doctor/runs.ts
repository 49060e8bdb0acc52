import { workflowTypes } from '../../contracts/names.ts'
import type { TroubledRun, WorkflowsView } from '../../contracts/views.ts'
import { fail, ok, warn, type Check } from './check.ts'

/** What is wrong with a run, and the hint, a line each. */
export function runProblem(run: TroubledRun): { what: string; hint: string } {
  const { workflowId, type, build, reason, message } = run
  const command = commandOf(type)
  if (reason === 'build-unserved') {
    return {
      what: `"${workflowId}" waits for a worker of build ${build ?? 'unknown'}, and none is alive (build-unserved)`,
      hint:
        command === null
          ? 'start a worker: keyturn worker'
          : `start a worker of that build, or run ${command} again: it ends this run and goes on in the build of now`,
    }
  }
  return {
    what: `"${workflowId}" fails again and again${build === null ? '' : ` in build ${build}`}: ${message ?? 'a worker takes its task and does not answer in time'} (task-failing)`,
    hint: 'bring back the build that began it, or deploy one that can follow it: docs/upgrades.md',
  }
}

/** The checks of builds and of stuck runs. */
export function workflowChecks({ versioned, current, workers, troubled }: WorkflowsView): Check[] {
  const names = [...new Set(workers.map(({ build }) => build ?? 'unknown'))].sort().join(', ')
  const count = workers.length === 1 ? 'one worker serves' : `${workers.length} workers serve`
  const serving = workers.length === 0 ? 'no worker serves workflows' : `served: ${names}`
  return [
    versioned
      ? ok('builds', `${serving}; new runs go to ${current ?? 'none yet'}`)
      : ok(
          'builds',
          `${count} workflows; this temporal keeps no builds apart: deploy one at a time`,
        ),
    ...troubled.map((run) => {
      const { what, hint } = runProblem(run)
      return run.reason === 'build-unserved' ? warn('runs', what, hint) : fail('runs', what, hint)
    }),
  ]
}

/** The command that restarts a run of this type; null for a type that continues in any build. */
function commandOf(type: string): string | null {
  switch (type) {
    case workflowTypes.rotate:
    case workflowTypes.range:
      return 'keyturn rotate'
    case workflowTypes.verify:
      return 'keyturn verify'
    case workflowTypes.install:
      return 'the init command'
    default:
      return null
  }
}
