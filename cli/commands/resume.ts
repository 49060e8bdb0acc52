import type { Command } from 'commander'
import { steer } from '../../client/steer.ts'
import { answering } from '../answer.ts'

export function register(program: Command): void {
  program
    .command('resume')
    .summary('go on with it')
    .description(
      'Goes on with a rotation that was paused, by a person or because its HSM budget was spent.',
    )
    .addHelpText('after', '\nExample: keyturn resume')
    .action(
      answering(async (context) => {
        const { rotation, from, to } = await steer(context.config(), 'resume')
        const json = { rotationId: rotation, from, to, paused: false }
        return { json, text: `rotation ${rotation}, v${from} to v${to}: goes on` }
      }),
    )
}
