import { Option, type Command } from 'commander'
import { setPolicy, type PolicyRequest } from '../../client/policy/set.ts'
import { showPolicy } from '../../client/policy/show.ts'
import {
  continuePolicy,
  deletePolicy,
  runPolicy,
  suspendPolicy,
} from '../../client/policy/steer.ts'
import type { DailyWindow } from '../../contracts/policy.ts'
import type { Priority } from '../../contracts/rotation.ts'
import { answering } from '../answer.ts'
import * as parse from '../ui/parse.ts'
import { policyAnswer } from '../ui/present-policy.ts'

interface SetOptions {
  every: number
  at?: number
  timeZone: string
  jitter?: number
  window?: DailyWindow
  maxWraps?: number
  maxRate?: number
  maxHsmCalls?: number
  priority: Priority
  removeAfter?: number
  provision: boolean
}

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
  registerSet(
    add(
      'set',
      'Sets or replaces the policy; the first run is one period after the active version became so. A run leaves older ' +
        'versions that still have envelopes, then rotates to an installed version that was never active, or to a new one.',
      ' --every 90d --at 23:00 --time-zone Europe/Berlin --window 22:00-05:00',
    ),
  )
  add('show', 'Shows the policy, its last runs, the next five, and planned removals.').action(
    answering(async (context) => policyAnswer(await showPolicy(context.config()))),
  )
  add('pause', 'Suspends the policy; nothing is rotated until keyturn policy resume.').action(
    answering(async (context) => policyAnswer(await suspendPolicy(context.config()))),
  )
  add('resume', 'Lets a suspended policy go on, also after a failed run.').action(
    answering(async (context) => policyAnswer(await continuePolicy(context.config()))),
  )
  add('run', 'Rotates now, without waiting for the next date.')
    .option('--now', 'also outside the window of the policy')
    .action(
      answering<{ now?: boolean }>(async (context, { now = false }) =>
        policyAnswer(await runPolicy(context.config(), { now })),
      ),
    )
  add('delete', 'Deletes the policy. A rotation that runs goes on.').action(
    answering(async (context) => {
      await deletePolicy(context.config())
      return { json: { policy: null }, text: 'the policy is deleted' }
    }),
  )
}

function registerSet(command: Command): void {
  command
    .requiredOption('--every <duration>', 'the period: 90d', parse.duration)
    .option(
      '--at <time>',
      'time of the day (default: 03:00, or begin of --window)',
      parse.timeOfDay,
    )
    .option('--time-zone <name>', 'of --at and --window, for example Europe/Berlin', 'UTC')
    .option('--jitter <duration>', 'begin late by a random part of this', parse.duration)
    .option('--window <from-to>', 'when rotations may run: 22:00-05:00', parse.dailyWindow)
    .option('--max-wraps <n>', 'begin early after so many wraps under a version', parse.positive)
    .option('--max-rate <n>', 'of each of its rotations, as of keyturn rotate', parse.limit)
    .option('--max-hsm-calls <n>', 'of each of its rotations, as of keyturn rotate', parse.limit)
    .addOption(
      new Option('--priority <whose>', 'whose speed counts while it rotates')
        .choices(['rotation', 'applications'])
        .default('rotation'),
    )
    .option('--remove-after <duration>', 'ask for the removal of the old version', parse.duration)
    .option('--no-provision', 'install no version: wait for one that a person installs')
    .action(
      answering<SetOptions>(async (context, options) =>
        policyAnswer(await setPolicy(context.config(), requestOf(options))),
      ),
    )
}

function requestOf(options: SetOptions): PolicyRequest {
  const { every, at, timeZone, jitter, window, maxWraps, maxRate, maxHsmCalls } = options
  const { priority, removeAfter, provision } = options
  return {
    everyMs: every,
    atMs: at ?? null,
    timeZone,
    jitterMs: jitter ?? 0,
    window: window ?? null,
    maxWraps: maxWraps ?? null,
    maxRate: maxRate ?? null,
    maxHsmCalls: maxHsmCalls ?? 0,
    priority,
    removeAfterMs: removeAfter ?? null,
    provision,
  }
}
