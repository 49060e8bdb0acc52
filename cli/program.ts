import { Command } from 'commander'
import * as audit from './commands/audit.ts'
import * as cancel from './commands/cancel.ts'
import * as demo from './commands/demo.ts'
import * as dev from './commands/dev.ts'
import * as doctor from './commands/doctor.ts'
import * as envInit from './commands/env-init.ts'
import * as nodes from './commands/nodes.ts'
import * as pause from './commands/pause.ts'
import * as pkcs11Init from './commands/pkcs11-init.ts'
import * as policy from './commands/policy.ts'
import * as quarantine from './commands/quarantine.ts'
import * as rate from './commands/rate.ts'
import * as remove from './commands/remove.ts'
import * as resume from './commands/resume.ts'
import * as rotate from './commands/rotate.ts'
import * as scan from './commands/scan.ts'
import * as setup from './commands/setup.ts'
import * as status from './commands/status.ts'
import * as verify from './commands/verify.ts'
import * as version from './commands/version.ts'
import * as worker from './commands/worker.ts'

/** In the order of a first day with Keyturn. */
const commands = [
  demo,
  dev,
  setup,
  doctor,
  worker,
  pkcs11Init,
  envInit,
  verify,
  rotate,
  pause,
  resume,
  rate,
  cancel,
  status,
  scan,
  quarantine,
  remove,
  nodes,
  policy,
  audit,
  version,
]

/** The whole command line. Errors are thrown, never printed here: `run` knows how to say them. */
export function buildProgram(): Command {
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
  for (const { register } of commands) register(program)
  return program
}
