import type { Command } from 'commander'
import { steer } from '../../client/steer.ts'
import { answering } from '../answer.ts'

export function register(program: Command): void {
  program
    .command('pause')
    .summary('pause the running rotation')
    .description(
      'Pauses the running rotation after the pages in flight. Applications notice nothing; keyturn resume goes on.',
    )
    .addHelpText('after', '\nExample: keyturn pause')
    .action(
      answering(async (context) => {
        const { rotation, from, to } = await steer(context.config(), 'pause')
        const json = { rotationId: rotation, from, to, paused: true }
        return { json, text: `rotation ${rotation}, v${from} to v${to}: paused` }
      }),
    )
}
