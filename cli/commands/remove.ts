import type { Command } from 'commander'
import { removeKek } from '../../client/remove.ts'
import { previewRemoval } from '../../client/preview-removal.ts'
import { undoRemoval } from '../../client/undo-removal.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { RemovalReply } from '../../client/removal-reply.ts'
import { answering, type Answer } from '../answer.ts'
import { note } from '../ui/output.ts'
import * as parse from '../ui/parse.ts'
import { removalText } from '../ui/present-removal.ts'
import { requestText } from '../ui/present-requests.ts'

interface Options {
  version: number
  undo?: boolean
  dryRun?: boolean
  destroyHsmKey?: boolean
  acceptQuarantine?: boolean
  withoutFence?: boolean
}

export function register(program: Command): void {
  program
    .command('remove')
    .summary('retire a version, guarded')
    .description(
      'Retires a version that nothing needs any more. All guards are checked and shown; then it is pending for the undo ' +
        'window, MongoDB refuses writes under it, and all guards are checked again before it is destroyed. Asks for confirmation.',
    )
    .requiredOption('--version <n>', 'the version to retire', parse.version)
    .option('--undo', 'take a pending removal back')
    .option('--dry-run', 'show all guards, and ask for nothing')
    .option('--destroy-hsm-key', 'destroy the key in the HSM too, at the end')
    .option('--accept-quarantine', 'although envelopes of it are in quarantine: they are lost')
    .option(
      '--without-fence',
      'without collMod: a late write under it would be unreadable for ever',
    )
    .addHelpText('after', '\nExample: keyturn remove --version 1 --destroy-hsm-key')
    .action(
      answering<Options>(async (context, options) => {
        requireAlone(options)
        const config = context.config()
        const { version, destroyHsmKey = false, acceptQuarantine = false } = options
        if (options.undo === true) {
          const view = await undoRemoval(config, version, note)
          return { json: view, text: removalText(view) }
        }
        const { withoutFence = false } = options
        const request = { version, destroyHsmKey, acceptQuarantine, withoutFence }
        if (options.dryRun === true) {
          const { view, error } = await previewRemoval(config, request)
          return { json: view, text: removalText(view), error }
        }
        if (withoutFence) note('warning: without a fence a late write can become unreadable')
        await context.confirm(
          `retire version ${version}${destroyHsmKey ? ' and its HSM key' : ''}?`,
        )
        const reply = await removeKek(config, request, note)
        if (reply.leftover !== null) note(`hint: ${reply.leftover}`)
        return removalAnswer(reply)
      }),
    )
}

function removalAnswer({ view, error, request }: RemovalReply): Answer {
  const text = removalText(view)
  if (request === undefined) return { json: view, text, error }
  return { json: { ...view, request }, text: `${text}\n\n${requestText(request)}`, error }
}

/** Refuses other options beside --undo: with --dry-run, for example, an ignored option would cause a real undo. */
function requireAlone(options: Options): void {
  const others = [
    ...(options.dryRun === true ? ['--dry-run'] : []),
    ...(options.destroyHsmKey === true ? ['--destroy-hsm-key'] : []),
    ...(options.acceptQuarantine === true ? ['--accept-quarantine'] : []),
    ...(options.withoutFence === true ? ['--without-fence'] : []),
  ]
  if (options.undo !== true || others.length === 0) return
  throw new KeyturnError('usage', `--undo and ${others.join(', ')} exclude each other`, {
    hint: 'keyturn remove --version N --undo undoes the whole request',
  })
}
