import type { BenchFigures } from './figures.ts'
import type { BenchOptions } from './options.ts'

export interface Part {
  about: string
  /** Duration with both providers, on two otherwise idle cores. */
  minutes: { usual: number; full: number }
  /** Whether it runs when no part is named. */
  isUsual: boolean
  load: () => Promise<{ run: (options: BenchOptions) => Promise<BenchFigures> }>
}

/** Each part of the bench has a line here and a file beside this one. */
export const parts: Record<string, Part> = {
  writes: {
    about: 'the raw writes: pages of updates in transactions',
    minutes: { usual: 0.5, full: 0.5 },
    isUsual: true,
    load: () => import('./writes.ts'),
  },
  rotation: {
    about:
      'raw token, bare loop, the rotation through Temporal, and peer scripts, on the same records',
    minutes: { usual: 5, full: 8 },
    isUsual: true,
    load: () => import('./rotation.ts'),
  },
  latency: {
    about: 'the rotation with 5 ms added to each HSM call and 30 sessions',
    minutes: { usual: 1.5, full: 1.5 },
    isUsual: true,
    load: () => import('./latency.ts'),
  },
  size: {
    about: 'speed and memory of a worker by the number of envelopes; a worker is killed on the way',
    minutes: { usual: 5, full: 20 },
    isUsual: true,
    load: () => import('./size.ts'),
  },
  crash: {
    about: 'kill -9 of the busy worker: HSM work done twice, and how long a takeover takes',
    minutes: { usual: 1.5, full: 1.5 },
    isUsual: true,
    load: () => import('./crash.ts'),
  },
  apps: {
    about: "an application's p99 beside a rotation, and its lost updates",
    minutes: { usual: 5, full: 5 },
    isUsual: true,
    load: () => import('./apps.ts'),
  },
  rate: {
    about: 'how exact --max-rate is over 30 s, with two workers (env unless --provider is given)',
    minutes: { usual: 2.5, full: 2.5 },
    isUsual: true,
    load: () => import('./rate.ts'),
  },
  idle: {
    about: 'crypt calls of an idle process with two versions, a day (pkcs11)',
    minutes: { usual: 0.5, full: 0.5 },
    isUsual: true,
    load: () => import('./idle.ts'),
  },
  scan: {
    about: '`scan --unwrap` beside a rotation',
    minutes: { usual: 2, full: 4 },
    isUsual: true,
    load: () => import('./scan.ts'),
  },
  fence: {
    about: "an application's writes beside `remove`, with a long transaction open",
    minutes: { usual: 1, full: 1 },
    isUsual: false,
    load: () => import('./fence.ts'),
  },
  token: {
    about: 'the raw token alone',
    minutes: { usual: 0.5, full: 0.5 },
    isUsual: false,
    load: () => import('./token.ts'),
  },
  hsm: {
    about: 'the pool alone: 0, 1, 5 ms a call with 1, 8, 30 sessions',
    minutes: { usual: 2, full: 2 },
    isUsual: false,
    load: () => import('./hsm.ts'),
  },
  workers: {
    about: 'the rotation with 1, 2 and 4 workers',
    minutes: { usual: 4, full: 8 },
    isUsual: false,
    load: () => import('./workers.ts'),
  },
  sweep: {
    about: "the product's sweep without Temporal beside the bare loop",
    minutes: { usual: 3, full: 3 },
    isUsual: false,
    load: () => import('./sweep.ts'),
  },
  fleet: {
    about: 'what 300 processes cost MongoDB, and how long verify and settle take with them',
    minutes: { usual: 6, full: 6 },
    isUsual: false,
    load: () => import('./fleet.ts'),
  },
  soak: {
    about:
      'rotations back and forth for --minutes, while workers, mongod and Temporal are killed at random and applications write',
    minutes: { usual: 36, full: 36 },
    isUsual: false,
    load: () => import('./soak.ts'),
  },
  profile: {
    about: "where a worker's processor time goes, by room of the code",
    minutes: { usual: 2, full: 2 },
    isUsual: false,
    load: () => import('./profile.ts'),
  },
}
