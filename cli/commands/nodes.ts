import type { Command } from 'commander'
import { changeRoster, readNodes } from '../../client/nodes.ts'
import type { FleetNode } from '../../contracts/fleet.ts'
import { answering, type Answer } from '../answer.ts'
import { nodesText } from '../ui/present-nodes.ts'

export function register(program: Command): void {
  const nodes = program
    .command('nodes')
    .summary('the roster of the fleet')
    .description(
      'The roster: the nodes that must answer before a rotation, and the processes that run there.',
    )
    .addHelpText('after', '\nExample: keyturn nodes decommission vm-c')
  nodes
    .command('list', { isDefault: true })
    .description('Lists the roster (the same as keyturn nodes).')
    .addHelpText('after', '\nExample: keyturn nodes list --json')
    .action(answering(async (context) => answerOf(await readNodes(context.config()))))
  nodes
    .command('expect')
    .description(
      'Puts a node on the roster before it was ever seen, or readmits a decommissioned one.',
    )
    .argument('<name>', 'the node')
    .addHelpText('after', '\nExample: keyturn nodes expect vm-d')
    .action(
      answering(async (context, _options, [name = '']) =>
        answerOf(await changeRoster(context.config(), 'expect', name)),
      ),
    )
  nodes
    .command('decommission')
    .description(
      'Takes a node off the roster for good: nothing waits for it any more, and its worker may not start. Asks for confirmation.',
    )
    .argument('<name>', 'the node')
    .addHelpText('after', '\nExample: keyturn nodes decommission vm-c --yes')
    .action(
      answering(async (context, _options, [name = '']) => {
        const ask = () => context.confirm(`decommission node ${name}?`)
        return answerOf(await changeRoster(context.config(), 'decommission', name, ask))
      }),
    )
}

function answerOf(nodes: FleetNode[]): Answer {
  return { json: { nodes }, text: nodesText(nodes) }
}
