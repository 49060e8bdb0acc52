import { afterAll, beforeAll, describe, test } from 'vitest'
import { processes } from '../support/processes.ts'
import { canMakeNamespaces, openNamespaceNetwork, openProxyNetwork } from '../support/network.ts'
import { attackByFreezing } from './attacks/frozen-application.ts'
import { allAttacks, withstand, type Attack } from './attacks/partitions.ts'
import { openStage, type Stage } from './attacks/stage.ts'

/** KEYTURN_ATTACKS=all: every partition in every phase, on both kinds of network; a quarter of an hour. */
const isAll = process.env['KEYTURN_ATTACKS'] === 'all'
const attacks: readonly Attack[] = isAll
  ? allAttacks
  : [{ partition: 'all nodes and MongoDB', phase: 'sweep' }]

const namespaces = { title: 'each node in a network namespace', openNetwork: openNamespaceNetwork }
const proxies = { title: 'each node behind proxies of its own', openNetwork: openProxyNetwork }
const stages = (await canMakeNamespaces()) ? [namespaces, proxies] : [proxies]

/**
 * Faults of a fleet during a rotation, with real processes. In none is an envelope written under the version that settle has
 * left, and in none does the rotation end with an unreadable envelope.
 */
describe.each(isAll ? stages : stages.slice(0, 1))('$title', ({ openNetwork }) => {
  const children = processes('file')
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage(children, openNetwork, 300)
  })
  afterAll(async () => {
    await stage.close()
  })

  // A step of a cut-off worker may hang for half a minute before another worker gets it.
  const patient = { timeout: 300_000 }
  test.each(attacks)('$partition lose their connection, from $phase on', patient, async (attack) =>
    withstand(stage, children, attack),
  )

  attackByFreezing(() => stage.fleet, children)
})
