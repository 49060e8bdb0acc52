import type { Command } from 'commander'
import { steer } from '../../client/steer.ts'
import { answering } from '../answer.ts'
import * as parse from '../ui/parse.ts'

export function register(program: Command): void {
  program
    .command('rate')
    .summary('limit its speed')
    .description(
      'Sets the speed limit of the running rotation, in envelopes a second over all its workers; 0 takes it off.',
    )
    .argument('<n>', 'envelopes a second')
    .addHelpText('after', '\nExample: keyturn rate 500')
    .action(
      answering(async (context, _options, [text = '']) => {
        const maxRate = parse.limit(text)
        const { rotation, from, to } = await steer(context.config(), { rate: maxRate })
        const limit = maxRate === 0 ? 'no limit' : `at most ${maxRate} envelopes a second`
        const json = { rotationId: rotation, from, to, maxRate }
        return { json, text: `rotation ${rotation}, v${from} to v${to}: ${limit}` }
      }),
    )
}
