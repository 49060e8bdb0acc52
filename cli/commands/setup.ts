import type { Command } from 'commander'
import { relocate, type Relocation, type RelocationReport } from '../../client/relocate.ts'
import { setup, type SetupReport } from '../../client/setup.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { answering, type Context } from '../answer.ts'
import { canariesHere } from '../doctor/local-canaries.ts'
import { note } from '../ui/output.ts'
import { namedConfirmed } from '../ui/prompts.ts'

interface Flags {
  moved?: boolean
  copy?: boolean
  restored?: boolean
  confirm?: string
}

export function register(program: Command): void {
  program
    .command('setup')
    .summary('prepare MongoDB and Temporal; safe to repeat')
    .description(
      'Prepares MongoDB and Temporal: indexes, search attributes, and the collections, timings and removal rules that ' +
        'count for the whole fleet. Safe to repeat; before it changes a recorded setting it shows the difference and asks.\n\n' +
        'A keystore that is not where it was recorded takes no work until you declare what it is: --moved (the ' +
        'original is gone), --copy (it lives on; this one gets an id of its own), --restored (an older state in the ' +
        'same place: requests are withdrawn, and the fleet follows it again).',
    )
    .option('--moved', 'this is the original, in another place')
    .option('--copy', 'this is a copy, and the original lives on')
    .option('--restored', 'this is an older state of the original, in its place')
    .option(
      '--confirm <database>',
      'answers the question for the name of the database; --yes does not',
    )
    .addHelpText('after', '\nExample: keyturn setup --config /etc/keyturn/keyturn.yaml')
    .action(
      answering<Flags>(async (context, flags) => {
        const how = relocationOf(flags)
        if (how !== null) return declared(context, how, flags.confirm)
        const report = await setup(context.config(), async (changes) => {
          note('recorded settings that would change for the whole fleet:')
          for (const change of changes) note(`  ${change}`)
          await context.confirm('change them?')
        })
        for (const warning of report.warnings ?? []) note(`warning: ${warning}`)
        return { json: report, text: textOf(report) }
      }),
    )
}

async function declared(context: Context, how: Relocation, confirm: string | undefined) {
  const config = context.config()
  const { database } = config.mongodb
  const report = await relocate(config, how, {
    prove: (keks) => canariesHere(config, keks),
    async confirm(unopened) {
      for (const { version, error } of unopened) {
        note(`v${version} does not open here: ${error?.message ?? 'unknown'}`)
      }
      await namedConfirmed(`"${database}" is declared ${how}`, database, confirm)
    },
  })
  context.forgetCopied()
  return { json: report, text: relocationText(report) }
}

function relocationOf({ moved, copy, restored, confirm }: Flags): Relocation | null {
  const declared: Relocation[] = [
    ...(moved === true ? (['moved'] as const) : []),
    ...(copy === true ? (['copied'] as const) : []),
    ...(restored === true ? (['restored'] as const) : []),
  ]
  if (declared.length > 1) {
    throw new KeyturnError('usage', '--moved, --copy and --restored exclude each other')
  }
  const [how = null] = declared
  if (how === null && confirm !== undefined) {
    throw new KeyturnError('usage', '--confirm belongs to --moved, --copy or --restored')
  }
  return how
}

function relocationText({ install, database, keystore, canaries, withdrawn }: RelocationReport) {
  const unopened = (canaries ?? []).filter(({ error }) => error !== null)
  const lines = [`install "${install}" in database "${database}": ${keystore}`]
  for (const { version, error } of unopened) {
    lines.push(`v${version} does not open here: ${error?.message ?? 'unknown'}`)
  }
  if (withdrawn !== undefined) {
    const { removals, rotations, workflows, epoch } = withdrawn
    for (const version of removals) lines.push(`the removal of v${version} is withdrawn`)
    for (const rotation of rotations) lines.push(`rotation ${rotation} is ended`)
    for (const workflow of workflows) lines.push(`workflow ${workflow} is ended`)
    if (epoch !== null) lines.push(`epoch ${epoch.from} is now ${epoch.to}`)
  }
  return [...lines, 'keyturn doctor shows what is left to do'].join('\n')
}

function textOf({ install, database, settings, searchAttributes, auditKey, build }: SetupReport) {
  const attributes =
    searchAttributes.length === 0
      ? 'search attributes are registered'
      : `search attributes registered: ${searchAttributes.join(', ')}`
  return [
    `install "${install}" in database "${database}": settings ${settings}`,
    'indexes are there',
    attributes,
    ...(auditKey === undefined
      ? []
      : [`heads of the audit are signed; public key:\n${auditKey.trim()}`]),
    ...(build === undefined ? [] : [buildText(build)]),
  ].join('\n')
}

function buildText({ id, by }: NonNullable<SetupReport['build']>): string {
  switch (by) {
    case 'made':
      return `new runs go to build ${id} from now on; what runs stays in its build`
    case 'was':
      return `new runs go to build ${id}`
    case 'unserved':
      return `no worker of this build (${id}) is alive: new runs stay with the one that is`
    case 'off':
      return 'this temporal keeps no builds apart: deploy one build on all hosts at a time'
  }
}
