import { randomInt } from 'node:crypto'
import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import type { ProviderName } from '../contracts/kek.ts'
import type { CheckMode } from '../contracts/settings.ts'
import type { BenchOptions } from './options.ts'
import { parts } from './parts.ts'

interface Given {
  provider: ProviderName | 'both'
  size?: number
  full: boolean
  pairs: number
  page: number
  shards: number | 'auto'
  check: CheckMode
  workers: number
  workerFlag: string[]
  peer: number
  small: number
  seconds: number
  processes: number
  real: boolean
  minutes: number
  seed?: number
}

/** The command line of the bench. `run` gets the names of the requested parts. */
export function benchCommand(
  run: (names: string[], options: BenchOptions) => Promise<void>,
): Command {
  const number = (name: string, value: number, about: string) =>
    new Option(`--${name} <n>`, about).argParser(positive).default(value)
  return new Command('npm run bench --')
    .description(about())
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
    .addArgument(new Argument('[part...]', 'what to measure').choices(Object.keys(parts)))
    .option('--full', 'the sizes that the bars are about: 200,000 and 1,000,000 envelopes', false)
    .addOption(
      new Option('--size <n>', 'this many envelopes instead; times scale with it').argParser(
        positive,
      ),
    )
    .addOption(
      new Option('--provider <p>', 'pkcs11 is SoftHSM2')
        .choices(['env', 'pkcs11', 'both'])
        .default('both'),
    )
    .addOption(number('pairs', 3, 'interleaved pairs'))
    .addOption(number('page', 1000, 'rewrap.page'))
    .addOption(
      new Option('--shards <n>', 'rewrap.shards')
        .argParser((text) => (text === 'auto' ? text : positive(text)))
        .default('auto'),
    )
    .addOption(
      new Option('--check <mode>', 'rewrap.check')
        .choices(['all', 'sampled', 'none'])
        .default('all'),
    )
    .addOption(number('workers', 1, 'worker processes'))
    .addOption(
      new Option('--worker-flag <f>', "for each worker's Node; may be repeated")
        .argParser((text, before: string[]) => [...before, text])
        .default([]),
    )
    .addOption(number('peer', 5000, 'envelopes for the peer that takes one record after the other'))
    .addOption(number('small', 10000, "the small size of 'size'"))
    .addOption(number('seconds', 15, "stretch that 'apps' measures, 'rate' twice that"))
    .addOption(number('processes', 300, "of the fleet that 'fleet' simulates"))
    .option('--real', "'fleet' starts each as a process of its own, with a keyring", false)
    .addOption(number('minutes', 30, "length of 'soak'"))
    .addOption(
      new Option('--seed <n>', "of the faults of 'soak'; random by default").argParser(positive),
    )
    .addHelpText('after', `\n${partsText()}`)
    .action(async (names: string[], given: Given) => {
      await run(names, optionsOf(given))
    })
}

function optionsOf({ provider, size, workerFlag, peer, seed, ...rest }: Given): BenchOptions {
  return {
    ...rest,
    providers: provider === 'both' ? ['env', 'pkcs11'] : [provider],
    size: size ?? null,
    seed: seed ?? randomInt(1, 2 ** 31),
    workerFlags: workerFlag,
    peerEnvelopes: peer,
    print: (line) => process.stderr.write(`${line}\n`),
  }
}

function about(): string {
  return [
    'Measures part by part and writes bench/results/<part>.json and .svg.',
    `Without a part: those with a star, in about ${minutesOf('usual')} minutes on two cores;`,
    `with --full, at the sizes of the bars, in about ${minutesOf('full')}.`,
    'Exits 1 when a bar is missed, 2 when an argument is wrong.',
  ].join(' ')
}

function partsText(): string {
  const names = Object.keys(parts)
  const width = Math.max(...names.map((name) => name.length)) + 2
  const lines = Object.entries(parts).map(([name, { about, minutes, isUsual }]) => {
    const { usual, full } = minutes
    const time = usual === full ? `${usual} min` : `${usual} min, --full ${full}`
    return `  ${isUsual ? '*' : ' '} ${name.padEnd(width)}${about} (${time})`
  })
  return ['Parts:', ...lines].join('\n')
}

function minutesOf(which: 'usual' | 'full'): number {
  const usual = Object.values(parts).filter(({ isUsual }) => isUsual)
  return Math.round(usual.reduce((sum, { minutes }) => sum + minutes[which], 0))
}

function positive(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new InvalidArgumentError('It must be a whole number above 0.')
}
