import type { Command } from 'commander'
import { resumeRotation } from '../../client/steer.ts'
import type { RotationPause } from '../../contracts/rotation.ts'
import { answering } from '../answer.ts'

export function register(program: Command): void {
  program
    .command('resume')
    .summary('go on with it')
    .description(
      'Goes on with a rotation that was paused, by a person or because its HSM budget was spent; with --now also with one ' +
        'that waits for the window of its policy.',
    )
    .option('--now', 'also outside the window of its policy')
    .addHelpText('after', '\nExample: keyturn resume')
    .action(
      answering<{ now?: boolean }>(async (context, { now = false }) => {
        const { running, pause, opensAt } = await resumeRotation(context.config(), { now })
        const { rotation, from, to } = running
        return {
          json: { rotationId: rotation, from, to, ...pause },
          text: `rotation ${rotation}, v${from} to v${to}: ${goesOn(pause, opensAt)}`,
        }
      }),
    )
}

function goesOn({ paused, pauses }: RotationPause, opensAt: string | null): string {
  if (!paused) return 'goes on'
  if (pauses.includes('window')) return `goes on in its window, from ${opensAt ?? 'later'}`
  return 'goes on when the HSM answers'
}
