import { KeyturnError } from '../../contracts/errors.ts'
import type { PolicyRules } from '../../contracts/policy.ts'
import type { Config } from '../../contracts/settings.ts'
import type { PolicyView } from '../../contracts/views.ts'
import { timeZoneNamed } from '../../protocol/local-time.ts'
import { defaultAt, firstRun, isWholeDays, isWithin } from '../../protocol/policy-times.ts'
import { countVersions } from '../../store/census.ts'
import { readActive } from '../../store/kek-active.ts'
import { putPolicy } from '../../store/kek-policy.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { serverNow } from '../../store/store.ts'
import { requireApproval } from '../approvals/require.ts'
import { policySubject } from '../../store/policy-approval.ts'
import { requireInstalled, withOwnKeystore, type Keystore } from '../keystore.ts'
import { withTemporal } from '../temporal/connection.ts'
import { requester } from '../temporal/names.ts'
import { putSchedule } from './schedule.ts'
import { showWith } from './show.ts'

/** A run's own wraps count under the new version; below this many times the census it would start the next run soon. */
const leastWrapsPerEnvelope = 4

export interface PolicyRequest extends PolicyRules {
  /** How often the Schedule looks whether a run is due. Absent: daily at the time of day, or each period if that is shorter. */
  lookMs?: number
}

/**
 * Sets or replaces the policy; a pause, the record of its runs and planned removals stay. The first run is one period after the
 * active version became active. Throws usage for options that exclude each other, and ApprovalMissing.
 */
export async function setPolicy(config: Config, request: PolicyRequest): Promise<PolicyView> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    const { lookMs, ...given } = request
    const rules = checkedRules(given)
    await requireWraps(keystore, rules)
    await requireApproval(keystore, policySubject(rules))
    return withTemporal(config, async (link) => {
      const { store } = keystore
      const [active, now] = await Promise.all([readActive(store), serverNow(store)])
      const nextAt = firstRun(rules, { since: active?.at ?? now, now })
      const by = requester()
      const task = await insertTask(store, { kind: 'policy', by })
      await putPolicy(store, { rules, task, nextAt, by })
      await putSchedule(link, { install, task }, rules, { nextAt, now, lookMs })
      return showWith(link, keystore, install)
    })
  })
}

function checkedRules(rules: PolicyRules): PolicyRules {
  const { everyMs, atMs, window, jitterMs } = rules
  const timeZone = timeZoneNamed(rules.timeZone)
  if (timeZone === null) {
    throw new KeyturnError('usage', `there is no time zone "${rules.timeZone}"`, {
      hint: 'a name of the IANA database, for example Europe/Berlin; the default is UTC',
    })
  }
  if (atMs !== null && !isWholeDays(everyMs)) {
    throw new KeyturnError('usage', '--at needs a period of whole days', {
      hint: 'leave --at out, or name a period such as --every 90d',
    })
  }
  if (jitterMs >= everyMs) throw new KeyturnError('usage', '--jitter must be shorter than --every')
  const at = atMs ?? defaultAt(rules)
  if (window !== null && at !== null && !isWithin(window, at, jitterMs)) {
    throw new KeyturnError('usage', '--at and its --jitter must be within --window', {
      hint: 'a run begins at a random time from --at to --jitter later, and only within --window',
    })
  }
  return { ...rules, timeZone, atMs: at }
}

async function requireWraps({ store, settings }: Keystore, rules: PolicyRules): Promise<void> {
  if (rules.maxWraps === null) return
  const { byVersion } = await countVersions(store, settings.collections)
  const envelopes = Object.values(byVersion).reduce((sum, count) => sum + count, 0)
  const least = leastWrapsPerEnvelope * envelopes
  if (rules.maxWraps >= least) return
  throw new KeyturnError(
    'usage',
    `--max-wraps ${rules.maxWraps} is less than ${leastWrapsPerEnvelope} times the ${envelopes} envelopes`,
    { hint: `a rotation wraps each envelope once under the new version: name at least ${least}` },
  )
}
