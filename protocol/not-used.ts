import type { Guard } from '../contracts/views.ts'
import { processName } from './facts.ts'
import { guard, unused, wasUsed, type RemovalFacts, type UseFact } from './guard-facts.ts'

/**
 * No process has asked for the version since its removal was requested. It fails only at the second look: before a request
 * nothing is recorded. Processes that record no uses are named, and do not fail it.
 */
export function notUsed(facts: RemovalFacts): Guard {
  const { version, requestedAt, uses, malformedUses } = facts
  if (!wasUsed(facts)) return unused('not-used', facts)
  const [malformed] = malformedUses
  if (malformed !== undefined) {
    const detail = `a document of kek_uses is malformed (${malformed}): who wrote it may use the version`
    return guard('not-used', false, detail)
  }
  const since = requestedAt === null ? [] : uses.filter(({ lastAt }) => lastAt >= requestedAt)
  if (since.length > 0) return guard('not-used', false, `${shown(since)}${silence(facts)}`)
  const found =
    requestedAt === null
      ? 'uses are recorded from the request on'
      : `version ${version} was not used since ${requestedAt}`
  return guard('not-used', true, `${found}${silence(facts)}`)
}

function shown(uses: readonly UseFact[]): string {
  const lines = uses.slice(0, 5).map((use) => {
    const { count, collection, field, lastAt } = use
    const times = count === 1 ? 'once' : `${count} times`
    return `${processName(use)} used it ${times} for ${collection}.${field}, last at ${lastAt}`
  })
  return `${lines.join('; ')}${uses.length > 5 ? `; ${uses.length - 5} more` : ''}`
}

/** Names the processes that record no uses, so that their silence proves nothing. */
function silence({ heartbeats }: RemovalFacts): string {
  const names = heartbeats
    .filter(({ reportsUses }) => !reportsUses)
    .map((one) => processName(one))
    .sort()
  if (names.length === 0) return ''
  const more = names.length > 5 ? ` and ${names.length - 5} more` : ''
  return `; cannot tell: ${names.slice(0, 5).join(', ')}${more}`
}
