import { Command } from 'commander'
import { commandAt } from './words.ts'

interface CommandFile {
  register(program: Command): void
}

/** In the order in which a new user needs them. A command's file is loaded only when the command is typed. */
const commands: Record<string, () => Promise<CommandFile>> = {
  demo: () => import('./commands/demo.ts'),
  dev: () => import('./commands/dev.ts'),
  setup: () => import('./commands/setup.ts'),
  doctor: () => import('./commands/doctor.ts'),
  worker: () => import('./commands/worker.ts'),
  'pkcs11-init': () => import('./commands/pkcs11-init.ts'),
  'pkcs11-register': () => import('./commands/pkcs11-register.ts'),
  'env-init': () => import('./commands/env-init.ts'),
  verify: () => import('./commands/verify.ts'),
  rotate: () => import('./commands/rotate.ts'),
  pause: () => import('./commands/pause.ts'),
  resume: () => import('./commands/resume.ts'),
  rate: () => import('./commands/rate.ts'),
  cancel: () => import('./commands/cancel.ts'),
  status: () => import('./commands/status.ts'),
  scan: () => import('./commands/scan.ts'),
  quarantine: () => import('./commands/quarantine.ts'),
  remove: () => import('./commands/remove.ts'),
  requests: () => import('./commands/requests.ts'),
  approve: () => import('./commands/approve.ts'),
  nodes: () => import('./commands/nodes.ts'),
  policy: () => import('./commands/policy.ts'),
  report: () => import('./commands/report.ts'),
  backup: () => import('./commands/backup.ts'),
  audit: () => import('./commands/audit.ts'),
  version: () => import('./commands/version.ts'),
}

/** The command line for these arguments. Errors are thrown; `run` prints them. */
export async function buildProgram(argv: readonly string[]): Promise<Command> {
  const program = new Command('keyturn')
    .description('Rotates the key-encryption key of a live fleet without losing one secret.')
    .option(
      '--config <file>',
      'keyturn.yaml; else KEYTURN_CONFIG, ./keyturn.yaml, /etc/keyturn/keyturn.yaml',
    )
    .option('--json', 'one JSON document on stdout')
    .option('--yes', 'answer every question with yes')
    .option('--no-color', 'no colours; NO_COLOR does the same')
    .helpOption('-h, --help', 'explain a command')
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .addHelpText('after', '\nkeyturn COMMAND --help explains a command, with an example.')
  for (const load of commandsFor(argv)) {
    const command = await load()
    command.register(program)
  }
  requireAfterUnknown(program)
  refuseTwice(program)
  return program
}

/** Commander takes the last of an option's values without a word. */
function refuseTwice(program: Command): void {
  for (const command of withSubcommands(program)) {
    for (const option of command.options) {
      if (!(option.required || option.optional) || option.variadic) continue
      let isGiven = false
      command.on(`option:${option.name()}`, () => {
        if (isGiven) command.error(`error: option '${option.flags}' is given twice`)
        isGiven = true
      })
    }
  }
}

function withSubcommands(program: Command): Command[] {
  return [program, ...program.commands.flatMap((each) => [each, ...each.commands])]
}

/**
 * Reports unknown options before missing required ones. Commander does it the other way round, although an unknown option may
 * be the required one misspelt.
 */
function requireAfterUnknown(program: Command): void {
  for (const command of withSubcommands(program)) {
    const required = command.options.filter(({ mandatory }) => mandatory)
    for (const option of required) option.mandatory = false
    command.hook('preAction', (_, action) => {
      if (action !== command) return
      const missing = required.find(
        (each) => command.getOptionValue(each.attributeName()) === undefined,
      )
      if (missing !== undefined)
        command.error(`error: required option '${missing.flags}' not specified`)
    })
  }
}

/** The command that is typed; all commands for the help and for suggestions. */
function commandsFor(argv: readonly string[]): (() => Promise<CommandFile>)[] {
  const typed = argv[commandAt(argv)]
  const load = typed !== undefined && Object.hasOwn(commands, typed) ? commands[typed] : undefined
  return load === undefined ? Object.values(commands) : [load]
}
