import type { PauseCause } from '../../contracts/rotation.ts'
import type { StatusView } from '../../contracts/views.ts'
import { colours } from './colours.ts'
import { count, plural, seconds } from './figures.ts'
import { fleetText } from './present-fleet.ts'
import { policyState, rhythm } from './present-policy.ts'
import { budgetText } from './present-rotation.ts'
import { usesText } from './present-uses.ts'
import { requestsText } from './present-requests.ts'
import { workflowsText } from './present-workflows.ts'
import { table } from './tables.ts'

/** The whole of `keyturn status`. */
export function statusText(status: StatusView): string {
  const { bold, dim } = colours()
  const { install, provider, envelopes, active } = status
  const head =
    active === null
      ? `${bold(install)}: no key is installed`
      : `${bold(install)}: v${active.version} is active (${String(provider)}, epoch ${active.epoch}, since ${active.since})`
  const odd = envelopes.odd === 0 ? '' : `, ${count(envelopes.odd)} of them odd`
  const quarantine =
    envelopes.quarantined === 0 ? '' : `, ${count(envelopes.quarantined)} in quarantine`
  const parts = [
    head,
    `${plural(envelopes.total, 'envelope')}${odd}${quarantine}`,
    status.versions.length === 0 ? null : versionsTable(status),
    status.uses.length === 0 ? null : usesText(status.uses),
    rotationText(status),
    `${dim('fleet')}\n${fleetText(status.fleet)}`,
    policyText(status),
    status.requests === undefined ? null : `${dim('requests')}\n${requestsText(status.requests)}`,
    provider === 'pkcs11' ? budgetText(status.hsmBudget) : null,
    status.workflows === undefined ? null : workflowsText(status.workflows),
  ]
  return parts.filter((part) => part !== null).join('\n\n')
}

function versionsTable({ versions }: StatusView): string {
  return table(
    ['version', 'state', 'envelopes', 'label', 'created'],
    versions.map((row) => [
      `v${row.version}`,
      row.state,
      row.envelopes,
      row.label,
      row.createdAt ?? '',
    ]),
  )
}

function rotationText({ rotation, lastRotation, abandoned, temporal }: StatusView): string {
  if (temporal === 'unreachable') return 'rotation: not known, temporal is unreachable'
  if (abandoned !== undefined) {
    const { id, from, to, phase, startedAt } = abandoned
    return `rotation ${id}, v${from} to v${to}, since ${startedAt}: stopped in ${phase}, its workflow is gone from temporal\nboth keys stay in use; to go on: keyturn rotate --to-version ${to}`
  }
  if (rotation === null) {
    if (lastRotation === null) return 'no rotation ran yet'
    const { id, from, to, outcome, endedAt } = lastRotation
    return `no rotation runs; the last, ${id}, v${from} to v${to}: ${outcome}, ${endedAt}`
  }
  const { id, from, to, phase, pauses, remaining, ratePerSecond, etaSeconds } = rotation
  const eta = etaSeconds === null ? '' : `, ${seconds(etaSeconds)} left`
  return [
    `rotation ${id}, v${from} to v${to}: ${phase}${pausedAs(pauses)}`,
    `${count(rotation.rewrapped)} re-wrapped, ${count(rotation.superseded)} superseded, ` +
      `${count(rotation.quarantined)} in quarantine, ${count(remaining)} remaining, ` +
      `${count(ratePerSecond)}/s${eta}`,
    ...rotation.awaiting.map((line) => `waits for ${line}`),
  ].join('\n')
}

function policyText({ policy }: StatusView): string | null {
  if (policy === null) return null
  return [`policy: ${rhythm(policy)}`, ...policyState(policy)].join('\n')
}

function pausedAs(pauses: readonly PauseCause[]): string {
  if (pauses.length === 0) return ''
  if (pauses.every((cause) => cause === 'hsm-away')) return ' (waits for the HSM)'
  const by = pauses.filter((cause) => cause !== 'operator')
  return by.length === 0 ? ' (paused)' : ` (paused: ${by.join(', ')})`
}
