import { Option, type Command } from 'commander'
import { planRotation } from '../../client/plan.ts'
import { rotate } from '../../client/rotate.ts'
import type { Priority } from '../../contracts/rotation.ts'
import { answering } from '../answer.ts'
import { timedEnvelopes } from '../timed-envelopes.ts'
import { withFollower } from '../ui/follower.ts'
import * as parse from '../ui/parse.ts'
import { planText, rotationText } from '../ui/present-rotation.ts'

interface Options {
  fromVersion?: number
  toVersion: number
  detach?: boolean
  dryRun?: boolean
  reason: string
  maxRate?: number
  maxHsmCalls?: number
  priority: Priority
}

export function register(program: Command): void {
  program
    .command('rotate')
    .summary('re-wrap every envelope under another version')
    .description(
      'Re-wraps every envelope under another version while the fleet goes on reading and writing. Follows the rotation ' +
        'to its end; Ctrl-C detaches and leaves it running. The same command attaches to it again.',
    )
    .option('--from-version <n>', 'the version to leave (default: the active one)', parse.version)
    .requiredOption('--to-version <n>', 'the version to go to', parse.version)
    .option('--detach', 'start it and return')
    .option(
      '--dry-run',
      'only show what it would do and cost: times a few envelopes on the real token, writes nothing',
    )
    .option('--reason <text>', 'kept in the record', '')
    .option('--max-rate <n>', 'envelopes a second of the whole rotation, 0: no limit', parse.limit)
    .option('--max-hsm-calls <n>', 'pause before it would spend more crypt calls', parse.limit)
    .addOption(
      new Option('--priority <whose>', 'whose speed counts while it runs')
        .choices(['rotation', 'applications'])
        .default('rotation'),
    )
    .addHelpText(
      'after',
      '\nExample: keyturn rotate --from-version 1 --to-version 2 --max-rate 2000',
    )
    .action(
      answering<Options>(async (context, options) => {
        const config = context.config()
        const maxRate = options.maxRate ?? config.rewrap.maxRate
        const request = { from: options.fromVersion ?? null, to: options.toVersion, maxRate }
        if (options.dryRun === true) {
          const budget = { ...request, maxHsmCalls: options.maxHsmCalls ?? 0 }
          const plan = await planRotation(config, budget, timedEnvelopes(config))
          return { json: plan, text: planText(plan) }
        }
        const { reason, priority, detach = false, maxHsmCalls = 0 } = options
        const shared = [
          ...(options.maxRate === undefined ? [] : ['--max-rate']),
          ...(options.maxHsmCalls === undefined ? [] : ['--max-hsm-calls']),
        ]
        const { answer, error } = await withFollower(shared, (follower) =>
          rotate(config, { ...request, reason, priority, maxHsmCalls, detach }, follower),
        )
        return { json: answer, text: rotationText(answer), error }
      }),
    )
}
