import { describe, expect, test } from 'vitest'
import { explore, traceText } from './explore.ts'
import { machineOf } from './machine.ts'
import {
  copiedCensus,
  copiedSettling,
  fencing,
  forgedSettle,
  forgedSweep,
  forging,
  idle,
  large,
  losing,
  odd,
  promoting,
  removing,
  restoredRotations,
  restoring,
  retiring,
  settling,
  sharingToken,
  sweeping,
  without,
} from './bounds.ts'
import type { Bounds } from './state.ts'

/** States after which a search gives up; KEYTURN_MODEL_STATES raises it for the larger worlds. */
const limit = Number(process.env['KEYTURN_MODEL_STATES'] ?? 400_000)
const isLarge = process.env['KEYTURN_MODEL'] === 'large'
/** Timeout for the larger of the small worlds on a busy machine. */
const long = 600_000
const isTold = isLarge || process.env['KEYTURN_MODEL'] === 'traces'

/** Every state within the bounds is visited, and none breaks an invariant. */
function holds(title: string, bounds: Bounds, mustComplete = true): void {
  const began = performance.now()
  const result = explore(machineOf(bounds), limit)
  const { states, steps, depth, complete, failure } = result
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  if (isTold)
    console.log(`${title}: ${states} states, ${steps} steps, depth ${depth}, ${seconds} s`)
  expect(failure, traceText(result)).toBeNull()
  if (mustComplete) expect(complete, `${states} states were not all`).toBe(true)
}

/** The search finds the violation that the rule prevents; it is the last line of the trace. */
function fails(title: string, bounds: Bounds, broken: RegExp, last: RegExp): void {
  const result = explore(machineOf(bounds), limit)
  if (isTold) console.log(`\n${title}: ${traceText(result)}`)
  expect(result.failure?.broken ?? 'nothing').toMatch(broken)
  expect(result.failure?.trace.at(-1)).toMatch(last)
}

describe('the protocol, in every order of its steps', () => {
  test('no process wraps under the old version after settle', () => holds('settling', settling))
  test('pages of replaced, frozen and restored workers change nothing', () =>
    holds('sweeping', sweeping))
  test('late attempts of promote change nothing', () => holds('promoting', promoting))
  test('no removal destroys what a rotation makes active', () => holds('removing', removing))
  test('no destroyed version is active, usable or named by an envelope', () =>
    holds('retiring', retiring))

  test('no process wraps under a silently lost key for longer than a lease, and no rotation promotes it', () =>
    holds('losing', losing))
  test('the same holds when the process that lost the key is idle', () => holds('idle', idle))
  test('forged steps of a removal break no invariant', () => holds('forging', forging))

  test('forged steps of a rotation break no invariant', () => {
    holds('forged beside a sweep', forgedSweep)
    holds('forged beside settle', forgedSettle)
  })

  test('workers of a copy do not decide steps of the original', () => {
    holds('a copy beside settle', copiedSettling)
    holds('a copy beside the last count', copiedCensus)
  })
  test('a copy on the same token destroys no key that the original needs', () =>
    holds('one token', sharingToken))

  test(
    'no version is destroyed that was active only in a state lost by a restore',
    { timeout: long },
    () => holds('restored before a removal', restoring),
  )

  test('no version is destroyed that an odd envelope may need', () => holds('odd', odd))

  for (const [title, bounds] of Object.entries(large)) {
    test.runIf(isLarge)(title, { timeout: 3_600_000 }, () => holds(title, bounds, false))
  }
})

describe('with one rule left out, the search finds a violation', () => {
  const wrapped = /^app 0 wrapped under version 1 after settle$/
  const sweptLate = /^the sweep of rotation 1 wrote under version 2 after settle had left it$/
  const backAgain = /^version 2, which settle had left, was made active by a rotation that is over$/

  test('processes have no lease', () =>
    fails('no lease', without(settling, 'lease'), wrapped, /^app 0 seals under version 1$/))

  test('settle does not wait for the fleet', () =>
    fails(
      'settle does not wait',
      without(settling, 'settleWaits'),
      wrapped,
      /^app 0 seals under version 1$/,
    ))

  test('kek_active is read before the heartbeat is written', () =>
    fails('kek_active read early', without(settling, 'heartbeatFirst'), wrapped, /seals under/))

  test('the rotation ends without a tail', () =>
    fails(
      'no tail sweep',
      without(retiring, 'tailSweep'),
      /^rotation 1 completed with 1 envelopes under version 1$/,
      /ends without a tail$/,
    ))

  test('pages are written without the range document', () =>
    fails(
      'pages without the range document',
      without(sweeping, 'rangeDocument'),
      sweptLate,
      /the envelopes are written$/,
    ))

  test('ranges are not closed', () =>
    fails(
      'ranges are left open',
      without(sweeping, 'closeRanges'),
      sweptLate,
      /^worker \d commits page 0/,
    ))

  test('version rows are not marked', () =>
    fails(
      'no marks',
      without(removing, 'marks'),
      /^(the active version|.* under version 2, which) is destroyed$/,
      /commits$/,
    ))

  test('a removal raises no fence', () =>
    fails(
      'no fence',
      without(fencing, 'fence'),
      /^an envelope is under version 1, which is destroyed$/,
      /^what it has, under version 1, is written$/,
    ))

  test('promote accepts an answer to an older question', () => {
    const lost = /^version 2 was made active, whose key app 0 had lost before it was asked$/
    for (const [name, bounds] of Object.entries({ losing, idle })) {
      fails(`old answers, ${name}`, without(bounds, 'freshAnswers'), lost, /commits$/)
    }
  })

  describe('a process wraps with', () => {
    const lost = /^app 0 wrapped under version 1 a lease after its key was lost$/
    test('an old proof', () =>
      fails('old proofs', without(losing, 'freshProofs'), lost, /seals under version 1$/))

    // A page of a sweep opens its own wraps with the key that wrapped them.
    test('a proof that was renewed by use instead of by the canary', () => {
      const busy = { ...losing, lease: 2 }
      const renewed = without(busy, 'canaryRenews')
      fails('uses renew', renewed, lost, /seals under version 1$/)
    })
  })

  test('the step that destroys does not check the guards itself', () =>
    fails(
      'no guards of its own',
      without({ ...fencing, forges: true }, 'ownGuards'),
      /^an envelope is under version 1, which is destroyed$/,
      /(commits|is written)$/,
    ))

  describe('finish does not check for itself that settle is over', () => {
    test('a rotation completes with envelopes under the old version', () =>
      fails(
        'finish counts nothing',
        without(forgedSweep, 'ownEnd'),
        /^rotation 1 completed with 1 envelopes under version 1$/,
        /a forged finish says that settle is over$/,
      ))

    test('a rotation completes while a process can still wrap under the old version', () =>
      fails(
        'finish looks at nobody',
        without(forgedSettle, 'ownEnd'),
        wrapped,
        /^app 0 seals under version 1$/,
      ))
  })

  describe('a worker of a copy takes a step of the original', () => {
    test('it reports that the fleet has settled', () =>
      fails(
        'a copy settles',
        without(copiedSettling, 'ownTasks'),
        wrapped,
        /^app 0 seals under version 1$/,
      ))

    test('it counts the envelopes of the copy', () =>
      fails(
        'a copy counts',
        without(copiedCensus, 'ownTasks'),
        /^rotation 1 completed with 1 envelopes under version 1$/,
        /a copy counts nothing$/,
      ))
  })

  test('a copy destroys every key that its rows name', () =>
    fails(
      'keys of others',
      without(sharingToken, 'ownKeys'),
      /^an envelope is under version 1, whose key a copy destroyed$/,
      /^a copy destroys the key of version 1 that came with it$/,
    ))

  describe('the database is restored to an older state', { timeout: long }, () => {
    test('a process with a newer epoch continues with its own state', () =>
      fails(
        'nobody heeds it',
        without(restoredRotations, 'heedsOlder'),
        /^app 0 wrapped under version \d after settle$/,
        /^app 0 seals under version \d$/,
      ))

    test('a version that was active in the lost state counts as never used', () =>
      fails(
        'never used in this state',
        without(restoring, 'restoredRows'),
        /^app 0 may wrap under version 2, which is destroyed$/,
        /^destroy \(request 1\) commits$/,
      ))
  })

  describe('the guards of a removal', () => {
    const lost = /^an envelope is under version 1, which is destroyed$/
    test('ignore odd envelopes', () =>
      fails('odd is none', without(odd, 'oddCounts'), lost, /commits$/))

    test('count odd envelopes and the others at different moments', () =>
      fails('two moments', without(odd, 'oneMoment'), lost, /commits$/))
  })

  describe('promote reads the epoch itself', () => {
    // Rotations are not cancelled or terminated here: then only the epoch shows a second attempt of promote that it is
    // late.
    const patient: Bounds = { ...promoting, cancels: false, terminates: false }
    const alone = without(patient, 'rotationRow')
    test('a late attempt switches again after a rotation back', () =>
      fails('epoch read late', without(alone, 'epochOfPreflight'), backAgain, /commits$/))
    test('the epoch from preflight prevents that on its own', () => holds('epoch alone', alone))
    test('the filters on the rotation’s row also prevent it on their own', () =>
      holds('row alone', without(promoting, 'epochOfPreflight')))
    test('after a cancel only those filters prevent it, because the epoch has not changed', () =>
      fails('no row', without(promoting, 'rotationRow'), backAgain, /commits$/))
  })
})
