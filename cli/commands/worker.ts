import { hostname } from 'node:os'
import type { Command } from 'commander'
import { KeyturnError } from '../../contracts/errors.ts'
import { answering } from '../answer.ts'

interface Options {
  node?: string
  roles: string
  ephemeral?: boolean
}

const allRoles = ['control', 'rewrap', 'node'] as const
type Role = (typeof allRoles)[number]

export function register(program: Command): void {
  program
    .command('worker')
    .summary('run a worker of this host')
    .description(
      'Runs a worker of this host until SIGTERM. It starts on an empty database too, and waits for work. ' +
        'A worker with keys also answers verify. With the role control alone it needs no keys, and is not on the roster.',
    )
    .option('--node <name>', 'name of this host in the roster (default: the host name)')
    .option('--roles <list>', 'what it does, separated by commas', allRoles.join(','))
    .option('--ephemeral', 'leaves the roster when it stops, instead of being missed')
    .addHelpText('after', '\nExample: keyturn worker --node vm-a --roles rewrap,node')
    .action(
      answering<Options>(async (context, options) => {
        const config = context.config()
        const roles = rolesOf(options.roles)
        // Loaded only here: the SDK's native core would slow every other command down.
        const { runWorker } = await import('../../workers/run-worker.ts')
        await runWorker({
          config,
          node: options.node ?? hostname(),
          ephemeral: options.ephemeral ?? false,
          roles,
          env: process.env,
        })
        return null
      }),
    )
}

function rolesOf(list: string): Role[] {
  return list.split(',').map((text) => {
    const role = allRoles.find((known) => known === text.trim())
    if (role !== undefined) return role
    throw new KeyturnError('usage', `unknown role "${text.trim()}"`, {
      hint: `roles are ${allRoles.join(', ')}`,
    })
  })
}
