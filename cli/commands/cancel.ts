import type { Command } from 'commander'
import { cancelRotation } from '../../client/steer.ts'
import { answering } from '../answer.ts'
import { withFollower } from '../ui/follower.ts'
import { rotationText } from '../ui/present-rotation.ts'

export function register(program: Command): void {
  program
    .command('cancel')
    .summary('end it; both keys stay')
    .description(
      'Ends the running rotation after the pages in flight. Both keys stay: keyturn rotate continues later, or goes back. ' +
        'Asks for confirmation.',
    )
    .addHelpText('after', '\nExample: keyturn cancel --yes')
    .action(
      answering(async (context) => {
        const reply = await withFollower([], (follower) =>
          cancelRotation(
            context.config(),
            ({ rotation, from, to }) =>
              context.confirm(`cancel rotation ${rotation}, v${from} to v${to}?`),
            follower,
          ),
        )
        if (reply === null) return null
        const { answer, error } = reply
        return { json: answer, text: rotationText(answer), error }
      }),
    )
}
