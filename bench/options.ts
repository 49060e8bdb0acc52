import { parseArgs } from 'node:util'
import type { ProviderName } from '../contracts/kek.ts'
import type { CheckMode } from '../contracts/settings.ts'

export interface BenchOptions {
  providers: ProviderName[]
  envelopes: number
  /** Interleaved repetitions of what is compared. */
  pairs: number
  page: number
  shards: number | 'auto'
  check: CheckMode
  workers: number
  /** Sizes that `size` compares. */
  small: number
  large: number
  /** Envelopes for the peer that takes one record after the other. */
  peerEnvelopes: number
  /** Seconds of each stretch that `apps` and `fleet` measure. */
  seconds: number
  /** Of the fleet that `fleet` simulates. */
  processes: number
  say: (line: string) => void
}

export const usage = `npm run bench -- [NAME …] [OPTIONS]

  NAME                one or more of: token writes sweep rotation apps crash size fleet; without one: token writes rotation
  --provider P        env, pkcs11 (SoftHSM2), or both (default)
  --envelopes N       for token, writes and rotation; default 100000
  --pairs N           interleaved pairs; default 3
  --page N            rewrap.page; default 1000
  --shards N          rewrap.shards; default auto
  --check MODE        all (default), sampled, none
  --workers N         worker processes; default 1
  --peer N            envelopes for the peer that takes one record after the other; default 5000
  --small N, --large N   sizes that 'size' compares; default 10000 and 200000 (the bar is for 1000000)
  --seconds N         stretch that 'apps' and 'fleet' measure; default 30
  --processes N       of the fleet that 'fleet' simulates; default 300`

/** Throws what `parseArgs` throws, and a TypeError for a number that is none. */
export function readOptions(args: string[]): { names: string[]; options: BenchOptions } {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      provider: { type: 'string', default: 'both' },
      envelopes: { type: 'string', default: '100000' },
      pairs: { type: 'string', default: '3' },
      page: { type: 'string', default: '1000' },
      shards: { type: 'string', default: 'auto' },
      check: { type: 'string', default: 'all' },
      workers: { type: 'string', default: '1' },
      peer: { type: 'string', default: '5000' },
      small: { type: 'string', default: '10000' },
      large: { type: 'string', default: '200000' },
      seconds: { type: 'string', default: '30' },
      processes: { type: 'string', default: '300' },
    },
  })
  const options: BenchOptions = {
    providers: values.provider === 'both' ? ['env', 'pkcs11'] : [oneOf(providers, values.provider)],
    envelopes: number(values.envelopes),
    pairs: number(values.pairs),
    page: number(values.page),
    shards: values.shards === 'auto' ? 'auto' : number(values.shards),
    check: oneOf(checks, values.check),
    workers: number(values.workers),
    small: number(values.small),
    large: number(values.large),
    peerEnvelopes: number(values.peer),
    seconds: number(values.seconds),
    processes: number(values.processes),
    say: (line) => process.stderr.write(`${line}\n`),
  }
  return { names: positionals, options }
}

const providers = ['env', 'pkcs11'] as const
const checks = ['all', 'sampled', 'none'] as const

function number(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new TypeError(`"${text}" is no number above 0`)
}

function oneOf<T extends string>(allowed: readonly T[], text: string): T {
  const found = allowed.find((value) => value === text)
  if (found !== undefined) return found
  throw new TypeError(`"${text}" is none of ${allowed.join(', ')}`)
}
