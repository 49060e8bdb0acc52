import type { Command } from 'commander'
import { deletePolicy, setPolicy, showPolicy, steerPolicy } from '../../client/policy.ts'
import { answering } from '../answer.ts'
import * as parse from '../ui/parse.ts'
import { policyAnswer } from '../ui/present-policy.ts'

interface SetOptions {
  every: number
  at?: number
  removeAfter?: number
  maxHsmCalls?: number
}

const steering = [
  ['pause', 'Suspends the policy; nothing is rotated until keyturn policy resume.'],
  ['resume', 'Lets a suspended policy go on.'],
  ['run', 'Rotates now, without waiting for the next date.'],
] as const

export function register(program: Command): void {
  const policy = program
    .command('policy')
    .summary('scheduled rotation')
    .description('Scheduled rotation: each run installs the next version, verifies it and rotates.')
    .addHelpText('after', '\nExample: keyturn policy set --every 90d --at 03:00 --remove-after 30d')
  const add = (name: string, description: string, flags = '') =>
    policy
      .command(name)
      .description(description)
      .addHelpText('after', `\nExample: keyturn policy ${name}${flags}`)
  add(
    'set',
    'Sets or replaces the policy; the first run is one period after the active version became so.',
    ' --every 365d',
  )
    .requiredOption('--every <duration>', 'the period: 90d', parse.duration)
    .option('--at <time>', 'time of the day, UTC (default: 03:00)', parse.timeOfDay)
    .option('--remove-after <duration>', 'ask for the removal of the old version', parse.duration)
    .option('--max-hsm-calls <n>', 'of each of its rotations, as of keyturn rotate', parse.limit)
    .action(
      answering<SetOptions>(async (context, { every, at, removeAfter, maxHsmCalls = 0 }) => {
        const removeAfterMs = removeAfter ?? null
        const request = { everyMs: every, atMs: at ?? null, removeAfterMs, maxHsmCalls }
        return policyAnswer(await setPolicy(context.config(), request))
      }),
    )
  add('show', 'Shows the policy, its last run and its next one.').action(
    answering(async (context) => policyAnswer(await showPolicy(context.config()))),
  )
  for (const [action, description] of steering) {
    add(action, description).action(
      answering(async (context) => policyAnswer(await steerPolicy(context.config(), action))),
    )
  }
  add('delete', 'Deletes the policy. A rotation that runs goes on.').action(
    answering(async (context) => {
      await deletePolicy(context.config())
      return { json: { policy: null }, text: 'the policy is deleted' }
    }),
  )
}
