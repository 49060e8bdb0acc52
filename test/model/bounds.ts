import { protocol } from './rules.ts'
import type { Rules } from './rules.ts'
import type { Bounds, ProcessBound } from './state.ts'

/** Small worlds, each for one part of the protocol. All of them, broken ones included, take 90 s on one core. */

const nothing: Bounds = {
  rules: protocol,
  lease: 1,
  processes: [],
  envelopes: 0,
  workers: 0,
  attempts: 2,
  rotations: [[1, 2]],
  cancels: true,
  finishes: true,
  terminates: false,
  promotes: 1,
  removal: null,
  forges: false,
  copied: false,
  deaths: true,
  ttl: false,
  verifies: 0,
  forgesRotation: false,
  sharedToken: false,
  restore: null,
  odds: 0,
  strays: false,
}

const app: ProcessBound = {
  kind: 'host',
  born: true,
  keys: [1, 2],
  seals: 1,
  copies: 0,
  restores: false,
  loses: false,
}

const thereAndBack = [
  [1, 2],
  [2, 1],
] as const

/** An application heartbeats, freezes, dies and seals while a rotation promotes and settles; its document may expire. */
export const settling: Bounds = { ...nothing, processes: [app], lease: 2, ttl: true }

/** Takeovers, frozen and restored workers, cancelled and terminated rotations, and the way back. */
export const sweeping: Bounds = {
  ...nothing,
  envelopes: 1,
  workers: 2,
  rotations: thereAndBack,
  terminates: true,
}

/** A removal beside rotations: two requests, undone or not; two attempts of each promote. */
export const removing: Bounds = {
  ...nothing,
  rotations: thereAndBack,
  terminates: true,
  promotes: 2,
  removal: { version: 2, requests: 2 },
}

/** A removal with forged steps, beside a rotation back. */
export const forging: Bounds = {
  ...removing,
  terminates: false,
  promotes: 1,
  forges: true,
  removal: { version: 2, requests: 1 },
}

/** Late attempts of promote, and nothing else. */
export const promoting: Bounds = { ...removing, removal: null }

/** From the first envelope to the destroyed version, with an application that writes an old copy back late. */
export const retiring: Bounds = {
  ...nothing,
  envelopes: 1,
  workers: 1,
  attempts: 1,
  cancels: false,
  deaths: false,
  processes: [{ ...app, seals: 0, copies: 1 }],
  removal: { version: 1, requests: 1 },
}

/** An application's token silently loses a key at any moment, while a rotation verifies, promotes and settles. */
export const losing: Bounds = {
  ...nothing,
  processes: [{ ...app, loses: true }],
  deaths: false,
  cancels: false,
}

/** The same for an application that only heartbeats, while `verify` is also run. */
export const idle: Bounds = {
  ...losing,
  processes: [{ ...app, loses: true, seals: 0 }],
  verifies: 1,
}

/** Workers of a copy beside those of the original, while a fleet settles, and while the last envelopes are counted. */
export const copiedSettling: Bounds = { ...settling, lease: 1, ttl: false, copied: true }
export const copiedCensus: Bounds = { ...sweeping, workers: 1, terminates: false, copied: true }

/** Forged steps of a rotation: during a sweep and after it, and while the fleet settles. */
export const forgedSweep: Bounds = { ...sweeping, workers: 1, forgesRotation: true }
export const forgedSettle: Bounds = { ...settling, lease: 1, ttl: false, forgesRotation: true }

/** A copy on the same token destroys keys that its rows name, while the original rotates. */
export const sharingToken: Bounds = { ...copiedCensus, cancels: false, sharedToken: true }

/** The database is restored to an older state under an application; then the version that it had switched to is removed. */
export const restoring: Bounds = {
  ...nothing,
  cancels: false,
  deaths: false,
  restore: 'first',
  processes: [app],
  removal: { version: 2, requests: 1 },
}

/** The same with another rotation: an epoch of the lost state may be higher than that of the next switch. */
export const restoredRotations: Bounds = {
  ...nothing,
  cancels: false,
  deaths: false,
  restore: 'first',
  processes: [app],
  rotations: thereAndBack,
}

/** From the first envelope to the destroyed version, while a program outside the fleet writes an old copy back late. */
export const fencing: Bounds = { ...retiring, processes: [], strays: true }

/** The same, with an envelope that becomes odd at any moment and is repaired. */
export const odd: Bounds = { ...fencing, odds: 1 }

/** Larger worlds, for a run by hand: KEYTURN_MODEL=large. */
export const large: Record<string, Bounds> = {
  'losing keys, dying and coming up, with a longer lease': { ...losing, deaths: true, lease: 2 },
  'settling, and back': { ...settling, rotations: thereAndBack },
  'settling with a process that comes up': {
    ...settling,
    lease: 1,
    ttl: false,
    processes: [app, { ...app, kind: 'ephemeral', born: false }],
  },
  'a process that lacks the new key': {
    ...settling,
    lease: 1,
    ttl: false,
    processes: [app, { ...app, kind: 'ephemeral', born: false, keys: [1] }],
  },
  'sweeping two pages, three attempts': { ...sweeping, envelopes: 2, attempts: 3 },
  'retiring, with cancels and seals': {
    ...retiring,
    cancels: true,
    deaths: true,
    processes: [{ ...app, seals: 1, copies: 0 }],
  },
  'retiring, with a machine restored': {
    ...retiring,
    processes: [{ ...app, seals: 1, copies: 0, restores: true }],
  },
  'restored from the beginning, and there and back': restoredRotations,
  'restored from between two rotations': {
    ...restoredRotations,
    restore: 'any',
    rotations: [...thereAndBack, [1, 2]],
  },
  'restored from before a removal, and a rotation back': {
    ...restoring,
    restore: 'any',
    rotations: thereAndBack,
    removal: { version: 1, requests: 1 },
  },
  'restored under an application with an outbox, which may die': {
    ...restoring,
    envelopes: 1,
    deaths: true,
  },
  'odd twice, with cancels and a fleet': {
    ...retiring,
    cancels: true,
    odds: 2,
    strays: true,
  },
  'retiring, a rotation back, two requests': {
    ...retiring,
    envelopes: 0,
    workers: 0,
    cancels: true,
    rotations: thereAndBack,
    processes: [{ ...app, seals: 0 }],
    removal: { version: 1, requests: 2 },
  },
}

export function without(bounds: Bounds, ...rules: (keyof Rules)[]): Bounds {
  const broken = Object.fromEntries(rules.map((rule) => [rule, false]))
  return { ...bounds, rules: { ...bounds.rules, ...broken } }
}
