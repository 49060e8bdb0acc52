import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { readStatus } from '../../client/status.ts'
import type { StatusView } from '../../contracts/views.ts'
import { answering } from '../answer.ts'
import { untilInterrupted } from '../ui/detach.ts'
import { note, printJson, printText } from '../ui/output.ts'
import { statusText } from '../ui/present-status.ts'

const betweenLooksMs = 2000
const clearScreen = '\u001b[H\u001b[2J'

export function register(program: Command): void {
  program
    .command('status')
    .summary('versions, census, rotation, fleet, policy')
    .description(
      'Versions, census of the envelopes, the running rotation, the fleet and the policy. It needs only MongoDB: without ' +
        'Temporal the rotation is left out.',
    )
    .option('--watch', 'look again every two seconds, until Ctrl-C')
    .addHelpText('after', '\nExample: keyturn status --json | jq .envelopes.byVersion')
    .action(
      answering<{ watch?: boolean }>(async (context, { watch }) => {
        const config = context.config()
        const look = async () => {
          const status = await readStatus(config)
          warn(status)
          return status
        }
        if (watch !== true) {
          const status = await look()
          return { json: status, text: statusText(status) }
        }
        await untilInterrupted(async (signal) => {
          while (!signal.aborted) {
            const status = await look()
            if (context.json) printJson(context.isCopied() ? { ...status, copied: true } : status)
            else printText(`${process.stdout.isTTY ? clearScreen : ''}${statusText(status)}\n`)
            await sleep(betweenLooksMs, undefined, { signal }).catch(() => undefined)
          }
        })
        return null
      }),
    )
}

function warn({ temporal, mongodb, lost = [] }: StatusView): void {
  for (const { message } of lost) {
    note(`warning: ${message}, so its envelopes are not counted; keyturn doctor says what to do`)
  }
  if (temporal !== undefined) note('warning: temporal is unreachable, so no rotation is shown')
  if (mongodb === undefined) return
  const since = mongodb.unconfirmedSince
  note(
    `warning: mongodb has confirmed no write by a majority of its members since ${since}, so heartbeats look old; keyturn doctor says what to do`,
  )
}
