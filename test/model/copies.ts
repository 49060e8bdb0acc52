import { ownKeyRefusal } from '../../protocol/own-key.ts'
import { end, rotationOf } from './rotations.ts'
import { step } from './state.ts'
import type { Bounds, Rotation, State, Step } from './state.ts'

/**
 * activities/foreign-task.ts: a worker whose keystore is a copy takes the step, finds no row of its task there, and fails
 * it as foreign. Without this rule it answers from the copy, where the fleet has long settled and nothing is left under the
 * old version.
 */
export function copySteps(state: State, bounds: Bounds, at: number, name: string): Step[] {
  const go = (what: string, change: (next: State, rotation: Rotation) => unknown) => [
    step(state, `${name}: a copy ${what}`, (next) => change(next, rotationOf(next, at))),
  ]
  if (bounds.rules.ownTasks) return go('hands its step back', () => null)
  const [from = 0] = bounds.rotations[at] ?? []
  switch (rotationOf(state, at).step) {
    case 'settle':
      return go('has settled', (next, mine) => {
        Object.assign(mine, { settled: true, round: null, step: 'census' })
        if (next.active.v !== from) next.leftForGood[from] = true
      })
    case 'sweep':
    case 'tail':
      return go('has swept', (_, mine) => void (mine.step = mine.settled ? 'census' : 'settle'))
    case 'census':
      return go('counts nothing', (next) => end(next, bounds, at, true))
    default:
      return []
  }
}

const original = 'a'.repeat(32)
const copyOfIt = 'b'.repeat(32)

/** Rows of a declared copy by which it would destroy a key: the members of the row, and the keystore in the key's id. */
const rowsOfCopy = [
  { of_original: true, keystore: original, what: 'that came with it' },
  // Rows of the original were restored into the copy again.
  { of_original: false, keystore: original, what: 'of rows that were put into it later' },
  { of_original: false, keystore: copyOfIt, what: 'that it made itself' },
]

/**
 * activities/hsm-removal.ts, run in a copy on the same token: only the key's id shows which keystore the object belongs to.
 */
export function tokenSteps(state: State, { rules, sharedToken }: Bounds): Step[] {
  if (!sharedToken) return []
  return [1, 2]
    .filter((version) => !state.lostKeys.includes(version))
    .flatMap((version) =>
      rowsOfCopy.flatMap(({ of_original, keystore, what }) => {
        const row = {
          origin: 'generated' as const,
          label: `kek-v${version}`,
          of_original,
          key_id: { toString: () => keystore.slice(0, 16) + '0'.repeat(16) },
        }
        const isRefused = rules.ownKeys && ownKeyRefusal(row, { id: copyOfIt }) !== null
        if (isRefused) return []
        return [
          step(state, `a copy destroys the key of version ${version} ${what}`, (next) => {
            if (keystore === original) next.lostKeys = [...next.lostKeys, version].sort()
          }),
        ]
      }),
    )
}
