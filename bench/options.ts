import { parseArgs } from 'node:util'
import type { ProviderName } from '../contracts/kek.ts'
import type { CheckMode } from '../contracts/settings.ts'
import { parts } from './parts.ts'

export interface BenchOptions {
  providers: ProviderName[]
  /** Envelopes, instead of what the part would take. */
  size: number | null
  /** The sizes that the bars of the design are about. */
  full: boolean
  /** Interleaved repetitions of what is compared. */
  pairs: number
  page: number
  shards: number | 'auto'
  check: CheckMode
  workers: number
  /** For each worker's Node. */
  workerFlags: string[]
  /** The smaller size that `size` compares memory with. */
  small: number
  /** Envelopes for the peer that takes one record after the other. */
  peerEnvelopes: number
  /** Of each stretch that `apps` measures; twice that for `rate`. */
  seconds: number
  /** Of the fleet that `fleet` simulates. */
  processes: number
  say: (line: string) => void
}

/** How many envelopes a part takes: what was asked for, else its own. */
export function sizeOf({ size, full }: BenchOptions, own: { usual: number; full: number }): number {
  return size ?? (full ? own.full : own.usual)
}

const width = Math.max(...Object.keys(parts).map((name) => name.length)) + 2

export const usage = `npm run bench -- [PART …] [OPTIONS]

Without a PART: those with a star, in about ${minutesOf('usual').toString()} minutes on two cores; with --full, at the sizes of the design's bars,
in about ${minutesOf('full').toString()}. Each part writes bench/results/<part>.json and .svg when it is done. Ends with 1 where a bar is missed.

${Object.entries(parts)
  .map(([name, { about, minutes, isUsual }]) => {
    const star = isUsual ? '*' : ' '
    const [usual, full] = [minutes.usual.toString(), minutes.full.toString()]
    const time = usual === full ? `${usual} min` : `${usual} min, --full ${full}`
    return `  ${star} ${name.padEnd(width)}${about} (${time})`
  })
  .join('\n')}

  --full              the sizes that the bars are about: 200,000 and 1,000,000 envelopes
  --size N            so many envelopes instead; times go with it
  --provider P        env, pkcs11 (SoftHSM2), or both (default)
  --pairs N           interleaved pairs; default 3
  --page N            rewrap.page; default 1000
  --shards N          rewrap.shards; default auto
  --check MODE        all (default), sampled, none
  --workers N         worker processes; default 1
  --worker-flag F     for each worker's Node, as --worker-flag=--max-semi-space-size=4; may be repeated
  --peer N            envelopes for the peer that takes one record after the other; default 5000
  --small N           the small size of 'size'; default 10000
  --seconds N         stretch that 'apps' measures, 'rate' twice that; default 15
  --processes N       of the fleet that 'fleet' simulates; default 300`

function minutesOf(which: 'usual' | 'full'): number {
  const usual = Object.values(parts).filter(({ isUsual }) => isUsual)
  return Math.round(usual.reduce((sum, { minutes }) => sum + minutes[which], 0))
}

/** Throws what `parseArgs` throws, and a TypeError for a number that is none. */
export function readOptions(args: string[]): { names: string[]; options: BenchOptions } {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      provider: { type: 'string', default: 'both' },
      size: { type: 'string' },
      full: { type: 'boolean', default: false },
      pairs: { type: 'string', default: '3' },
      page: { type: 'string', default: '1000' },
      shards: { type: 'string', default: 'auto' },
      check: { type: 'string', default: 'all' },
      workers: { type: 'string', default: '1' },
      'worker-flag': { type: 'string', multiple: true, default: [] },
      peer: { type: 'string', default: '5000' },
      small: { type: 'string', default: '10000' },
      seconds: { type: 'string', default: '15' },
      processes: { type: 'string', default: '300' },
    },
  })
  const options: BenchOptions = {
    providers: values.provider === 'both' ? ['env', 'pkcs11'] : [oneOf(providers, values.provider)],
    size: values.size === undefined ? null : number(values.size),
    full: values.full,
    pairs: number(values.pairs),
    page: number(values.page),
    shards: values.shards === 'auto' ? 'auto' : number(values.shards),
    check: oneOf(checks, values.check),
    workers: number(values.workers),
    workerFlags: values['worker-flag'],
    small: number(values.small),
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
