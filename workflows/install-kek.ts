import type { InstallInput, InstallResult } from '../contracts/install.ts'
import { queues } from '../contracts/names.ts'
import { askingNode, deciding, holdingKeys } from './profiles.ts'
import { refuse, reportOf } from './refusal.ts'

/** A host that does not answer within this time counts as absent. */
const answerWithinMs = 10_000

/** How long an installation waits for a worker with keys. All may be busy, but a person is waiting. */
const takenWithinMs = 60_000

/**
 * Installs version N: probe → intent → key → canary → lock → keystore row (→ `kek_active` for the first). Each step may
 * be repeated. A failed probe leaves nothing in the HSM or in MongoDB.
 */
export async function installKek(input: InstallInput): Promise<InstallResult> {
  try {
    const state = await deciding.checkInstall(input)
    if (state.installed !== null) return state.installed
    if (input.origin === 'environment') await requireMaterial(input, state.nodes)
    const keyHolder = holdingKeys(input.install, `v${input.version}`, takenWithinMs)
    const probe = await keyHolder.probeToken(input)
    await keyHolder.declareIntent(input)
    const made = await keyHolder.makeKek(input)
    return { ...made, probe }
  } catch (failure) {
    refuse(reportOf(failure))
  }
}

/** An `env` key must be in the environment of every live worker: a process reads it only when it starts. */
async function requireMaterial(input: InstallInput, nodes: readonly string[]): Promise<void> {
  const { install, task, version } = input
  const answers = nodes.map(async (node) => {
    const host = askingNode(queues.node(install, node), answerWithinMs)
    const answer = await host
      .findMaterial({ task, version })
      .catch(() => ({ there: false, label: null }))
    return answer.there ? [] : [{ node, label: answer.label }]
  })
  const lacking = (await Promise.all(answers)).flat()
  if (lacking.length === 0) return
  const variable = lacking.find((node) => node.label !== null)?.label ?? 'the variable'
  refuse({
    code: 'material-missing',
    message: `"${variable}" is not set on ${lacking.map(({ node }) => node).join(', ')}`,
    hint: 'set it (64 hex characters) on every node and restart the workers there',
  })
}
