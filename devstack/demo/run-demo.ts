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
import { balance, hearApplication, openAndCompare, removeFirst } from './ending.ts'
import { count, secondsSince } from './figures.ts'
import { reporter } from './reporter.ts'
import type { Reporter } from './reporter.ts'
import { installVersion, proveSecondVersion, sealAndServe, startFleet } from './preparation.ts'
import { rotateAndKill } from './rotation.ts'
import { nodes } from './demo-context.ts'
import type { DemoContext } from './demo-context.ts'

export interface DemoOptions {
  readonly records: number
  readonly provider: ProviderName
  /** Keep the servers running after the story, until `signal`. */
  readonly keep: boolean
  /** Ends the demo at once; everything is stopped. */
  readonly signal: AbortSignal
  readonly write: (line: string) => void
}

/** Re-wrapping is fast; at a rate that makes it last this long, one can watch. */
const sweepSeconds = 10

/**
 * The whole story, on a stack of its own. Resolves when it is over and everything has stopped; rejects with the first
 * expectation that failed, and then leaves the state folder with the logs.
 */
export async function runDemo(options: DemoOptions): Promise<void> {
  const tell = reporter(options.write)
  const started = performance.now()
  const stack = await openStack(options, tell)
  // This process opens keyrings too.
  Object.assign(process.env, stack.keyEnv)
  let keep = true
  try {
    await orAborted(options.signal, play(stack, tell, options))
    tell.say(`that was the whole story, in ${secondsSince(started)}`)
    if (options.keep) await untilAborted(stack, tell, options.signal)
    else
      tell.say(
        `Temporal UI was ${stack.temporalUi ?? 'on your own server'}; --keep leaves it running`,
      )
    keep = options.keep
  } finally {
    if (options.signal.aborted) keep = options.keep
    if (keep) {
      await keepFolder(stack.folder)
      tell.say(`state and logs: ${stack.folder}`)
    }
    await stack.stop({ keep })
  }
}

async function openStack(options: DemoOptions, tell: Reporter): Promise<Stack> {
  tell.chapter('1  A fleet on this machine')
  const folder = await freshFolder('demo')
  const softhsm = options.provider === 'pkcs11' ? await ensureSoftHsm(tell.say) : null
  const provider = softhsm === null ? 'env' : options.provider
  if (provider !== options.provider) {
    tell.say('so this demo takes its keys from environment variables')
  }
  const page = Math.min(500, Math.max(5, Math.ceil(options.records / 100)))
  const settings = { ...quickSettings, rewrap: { page } }
  const stack = await startStack({ folder, keep: true, provider, nodes, settings, say: tell.say })
  tell.say(
    softhsm === null
      ? 'keys in environment variables, the same for both nodes'
      : `SoftHSM2 ${softhsm.version}: one token for both nodes, as a network HSM would be`,
  )
  tell.say(
    'for a quick story: heartbeat 2 s, lease 6 s, expiry 10 s, backup and undo windows 0, ' +
      `at most ${count(rateFor(options.records))} envelopes a second`,
  )
  return stack
}

const rateFor = (records: number) => Math.max(20, Math.ceil(records / sweepSeconds))

async function play(stack: Stack, tell: Reporter, { records }: DemoOptions): Promise<void> {
  const { uri, database } = loadConfig({ file: stack.configPath }).mongodb
  const keyturn = commandsOn(stack, tell)
  await withStore({ uri, database }, async (store) => {
    const maxRate = rateFor(records)
    const context: DemoContext = {
      stack,
      tell,
      keyturn,
      store,
      records,
      maxRate,
      workers: new Map(),
    }
    await startFleet(context)
    tell.chapter('2  A first key, and secrets under it')
    await installVersion(context, 1)
    const sealed = await sealAndServe(context)
    tell.chapter('3  The next key, proven by every process')
    await proveSecondVersion(context)
    tell.chapter('4  The rotation, and a worker that dies in the middle of it')
    const rotated = await rotateAndKill(context)
    const life = await hearApplication(context, sealed)
    await balance(context, rotated, life)
    tell.chapter('5  Nothing was lost')
    await openAndCompare(context, sealed, life)
    tell.chapter('6  The old key goes')
    await removeFirst(context)
  })
}

async function untilAborted(stack: Stack, tell: Reporter, signal: AbortSignal): Promise<void> {
  tell.say(`Temporal UI: ${stack.temporalUi ?? stack.temporalAddress}; Ctrl-C ends it`)
  tell.say(`from another terminal: KEYTURN_CONFIG=${stack.configPath}`)
  await aborted(signal)
}
