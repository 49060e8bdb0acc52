import { runProblem } from '../../client/doctor/runs.ts'
import type { WorkflowsView } from '../../contracts/views.ts'
import { table } from './tables.ts'

/** The builds if there is more than one, and each stuck run; null where there is nothing to report. */
export function workflowsText(workflows: WorkflowsView): string | null {
  const { troubled } = workflows
  const lines = troubled.map((run) => {
    const { what, hint } = runProblem(run)
    return `${what}\n  ${hint}`
  })
  const builds = buildsTable(workflows)
  const parts = [...(builds === null ? [] : [builds]), ...lines]
  return parts.length === 0 ? null : parts.join('\n')
}

function buildsTable({ versioned, current, workers }: WorkflowsView): string | null {
  const builds = [...new Set(workers.map(({ build }) => build))]
  const isPlain =
    builds.length === 0 || (builds.length === 1 && (!versioned || builds[0] === current))
  if (isPlain) return null
  return table(
    ['build', 'new runs', 'workers'],
    builds.map((build) => [
      build ?? 'unknown',
      versioned && build === current ? 'yes' : '',
      workers
        .filter((worker) => worker.build === build)
        .map(({ node }) => node)
        .join(', '),
    ]),
  )
}
