import { Command } from 'commander'
import { deletePolicy, setPolicy, showPolicy, steerPolicy } from '../../client/rotations/policy.ts'
import type { PolicyView } from '../../contracts/views.ts'
import { answering, type Answer } from '../answer.ts'
import * as parse from '../ui/parse.ts'
import { policyText } from '../ui/present-policy.ts'

interface SetOptions {
  every: number
  at?: number
  removeAfter?: number
}

const steering = {
  pause: 'Suspends the policy; nothing is rotated until keyturn policy resume.',
  resume: 'Lets a suspended policy go on.',
  run: 'Rotates now, without waiting for the next date.',
} as const

export function register(program: Command): void {
  const policy = program
    .command('policy')
    .summary('scheduled rotation')
    .description('Scheduled rotation: each run installs the next version, verifies it and rotates.')
    .addHelpText('after', '\nExample: keyturn policy set --every 90d --at 03:00 --remove-after 30d')
  policy
    .command('set')
    .description(
      'Sets or replaces the policy. The first run is one period after the active version became so.',
    )
    .requiredOption('--every <duration>', 'the period: 90d', parse.duration)
    .option('--at <time>', 'time of the day, UTC (default: 03:00)', parse.timeOfDay)
    .option('--remove-after <duration>', 'ask for the removal of the old version', parse.duration)
    .addHelpText('after', '\nExample: keyturn policy set --every 365d')
    .action(
      answering<SetOptions>(async (context, { every, at, removeAfter }) => {
        const asked = { everyMs: every, atMs: at ?? null, removeAfterMs: removeAfter ?? null }
        return answerOf(await setPolicy(context.config(), asked))
      }),
    )
  policy
    .command('show')
    .description('Shows the policy, its last run and its next one.')
    .addHelpText('after', '\nExample: keyturn policy show')
    .action(answering(async (context) => answerOf(await showPolicy(context.config()))))
  policy.addCommand(deletion().copyInheritedSettings(policy))
  for (const [action, description] of Object.entries(steering)) {
    policy
      .command(action)
      .description(description)
      .addHelpText('after', `\nExample: keyturn policy ${action}`)
      .action(
        answering(async (context) =>
          answerOf(await steerPolicy(context.config(), action as keyof typeof steering)),
        ),
      )
  }
}

function deletion(): Command {
  return new Command('delete')
    .description('Deletes the policy. A rotation that runs goes on.')
    .addHelpText('after', '\nExample: keyturn policy delete')
    .action(
      answering(async (context) => {
        await deletePolicy(context.config())
        return { json: { policy: null }, text: 'the policy is deleted' }
      }),
    )
}

function answerOf(policy: PolicyView): Answer {
  return { json: { policy }, text: policyText(policy) }
}
