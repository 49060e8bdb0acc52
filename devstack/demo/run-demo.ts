import { loadConfig } from '../../config/load-config.ts'
import type { ProviderName } from '../../contracts/kek.ts'
import { withStore } from '../../store/store.ts'
import { aborted, orAborted } from '../interruption.ts'
import { ensureSoftHsm } from '../servers/softhsm.ts'
import { startStack } from '../stack.ts'
import type { Stack } from '../stack.ts'
import { quickSettings } from '../stack-config.ts'
import { freshFolder, keepFolder } from '../stack-folder.ts'
import { commandsOn } from './commands.ts'
import { checkCounts, finishApplication, openAndCompare, removeFirst } from './ending.ts'
import { count, secondsSince } from './figures.ts'
import { createReporter } from './reporter.ts'
import type { Reporter } from './reporter.ts'
import { installVersion, proveSecondVersion, sealAndServe, startFleet } from './preparation.ts'
import { rotateAndKill } from './rotation.ts'
import { nodes } from './demo-context.ts'
import type { DemoContext } from './demo-context.ts'

export interface DemoOptions {
  readonly records: number
  readonly provider: ProviderName
  /** Keep the servers running after the demo, until `signal`. */
  readonly keep: boolean
  /** Ends the demo at once; everything is stopped. */
  readonly signal: AbortSignal
  readonly write: (line: string) => void
}

/** The rate limit makes the sweep last this long, so that it can be watched. */
const sweepSeconds = 10

/**
 * Runs the demo on its own stack. Resolves when it is over and everything has stopped. Rejects with the first expectation that
 * failed, and then keeps the state folder with the logs.
 */
export async function runDemo(options: DemoOptions): Promise<void> {
  const reporter = createReporter(options.write)
  const started = performance.now()
  const stack = await openStack(options, reporter)
  // This process opens keyrings too.
  Object.assign(process.env, stack.keyEnv)
  let keep = true
  try {
    await orAborted(options.signal, play(stack, reporter, options))
    reporter.print(`the demo is complete, in ${secondsSince(started)}`)
    if (options.keep) await untilAborted(stack, reporter, options.signal)
    else
      reporter.print(
        `Temporal UI was ${stack.temporalUi ?? 'on your own server'}; --keep leaves it running`,
      )
    keep = options.keep
  } finally {
    if (options.signal.aborted) keep = options.keep
    if (keep) {
      await keepFolder(stack.folder)
      reporter.print(`state and logs: ${stack.folder}`)
    }
    await stack.stop({ keep })
  }
}

async function openStack(options: DemoOptions, reporter: Reporter): Promise<Stack> {
  reporter.chapter('1  A fleet on this machine')
  const folder = await freshFolder('demo')
  const softhsm = options.provider === 'pkcs11' ? await ensureSoftHsm(reporter.print) : null
  const provider = softhsm === null ? 'env' : options.provider
  if (provider !== options.provider) {
    reporter.print('so this demo takes its keys from environment variables')
  }
  const page = Math.min(500, Math.max(5, Math.ceil(options.records / 100)))
  const settings = { ...quickSettings, rewrap: { page } }
  const stack = await startStack({
    folder,
    keep: true,
    provider,
    nodes,
    settings,
    print: reporter.print,
  })
  reporter.print(
    softhsm === null
      ? 'keys in environment variables, the same for both nodes'
      : `SoftHSM2 ${softhsm.version}: one token for both nodes, as a network HSM would be`,
  )
  reporter.print(
    'for a quick demo: heartbeat 2 s, lease 6 s, expiry 10 s, backup and undo windows 0, ' +
      `at most ${count(rateFor(options.records))} envelopes a second`,
  )
  return stack
}

const rateFor = (records: number) => Math.max(20, Math.ceil(records / sweepSeconds))

async function play(stack: Stack, reporter: Reporter, { records }: DemoOptions): Promise<void> {
  const { uri, database } = loadConfig({ file: stack.configPath }).mongodb
  const keyturn = commandsOn(stack, reporter)
  await withStore({ uri, database }, async (store) => {
    const maxRate = rateFor(records)
    const context: DemoContext = {
      stack,
      reporter,
      keyturn,
      store,
      records,
      maxRate,
      workers: new Map(),
    }
    await startFleet(context)
    reporter.chapter('2  A first key, and secrets under it')
    await installVersion(context, 1)
    const sealed = await sealAndServe(context)
    reporter.chapter('3  The next key, proven by every process')
    await proveSecondVersion(context)
    reporter.chapter('4  The rotation, and a worker that dies in the middle of it')
    const rotated = await rotateAndKill(context)
    const report = await finishApplication(context, sealed)
    await checkCounts(context, rotated, report)
    reporter.chapter('5  Nothing was lost')
    await openAndCompare(context, sealed, report)
    reporter.chapter('6  The old key goes')
    await removeFirst(context)
  })
}

async function untilAborted(stack: Stack, reporter: Reporter, signal: AbortSignal): Promise<void> {
  reporter.print(`Temporal UI: ${stack.temporalUi ?? stack.temporalAddress}; Ctrl-C ends it`)
  reporter.print(`from another terminal: KEYTURN_CONFIG=${stack.configPath}`)
  await aborted(signal)
}
