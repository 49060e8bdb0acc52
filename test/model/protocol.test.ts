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
/** For the larger of the small worlds, on a machine that has other things to do. */
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

/** The search finds what the rule kept away; the last lines of its trace are the accident. */
function fails(title: string, bounds: Bounds, broken: RegExp, last: RegExp): void {
  const result = explore(machineOf(bounds), limit)
  if (isTold) console.log(`\n${title}: ${traceText(result)}`)
  expect(result.failure?.broken ?? 'nothing').toMatch(broken)
  expect(result.failure?.trace.at(-1)).toMatch(last)
}

describe('the protocol, in every order of its steps', () => {
  test('nobody wraps under the version that settle has left', () => holds('settling', settling))
  test('pages of replaced, frozen and restored workers change nothing', () =>
    holds('sweeping', sweeping))
  test('late attempts of promote change nothing', () => holds('promoting', promoting))
  test('no removal destroys what a rotation makes active', () => holds('removing', removing))
  test('a version that is destroyed is needed by nobody', () => holds('retiring', retiring))

  test('a key that is lost silently is wrapped under no lease later, and promoted by nobody', () =>
    holds('losing', losing))
  test('nor is it when the process that lost it stands still', () => holds('idle', idle))
  test('a forged step of a removal is an attempt like any other', () => holds('forging', forging))

  test('a forged step of a rotation is one of its own at another moment, or nothing', () => {
    holds('forged beside a sweep', forgedSweep)
    holds('forged beside settle', forgedSettle)
  })

  test('a copy decides nothing for the original', () => {
    holds('a copy beside settle', copiedSettling)
    holds('a copy beside the last count', copiedCensus)
  })
  test('and destroys no key that the original needs', () => holds('one token', sharingToken))

  test('no version is destroyed that was active in a lost state alone', { timeout: long }, () =>
    holds('restored before a removal', restoring),
  )

  test('no version is destroyed that an odd envelope may need', () => holds('odd', odd))

  for (const [title, bounds] of Object.entries(large)) {
    test.runIf(isLarge)(title, { timeout: 3_600_000 }, () => holds(title, bounds, false))
  }
})

describe('a protocol with one rule left out is broken, and the search shows how', () => {
  const wrapped = /^app 0 wrapped under version 1 after settle$/
  const sweptLate = /^the sweep of rotation 1 wrote under version 2 after settle had left it$/
  const backAgain = /^version 2, which settle had left, was made active by a rotation that is over$/

  test('no lease', () =>
    fails('no lease', without(settling, 'lease'), wrapped, /^app 0 seals under version 1$/))

  test('settle does not wait', () =>
    fails(
      'settle does not wait',
      without(settling, 'settleWaits'),
      wrapped,
      /^app 0 seals under version 1$/,
    ))

  test('kek_active is read before the heartbeat is written', () =>
    fails('kek_active read early', without(settling, 'heartbeatFirst'), wrapped, /seals under/))

  test('no tail sweep', () =>
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

  test('ranges are left open', () =>
    fails(
      'ranges are left open',
      without(sweeping, 'closeRanges'),
      sweptLate,
      /^worker \d commits page 0/,
    ))

  test('no marks on the version rows', () =>
    fails(
      'no marks',
      without(removing, 'marks'),
      /^(the active version|.* under version 2, which) is destroyed$/,
      /commits$/,
    ))

  test('no fence at removal', () =>
    fails(
      'no fence',
      without(fencing, 'fence'),
      /^an envelope is under version 1, which is destroyed$/,
      /^what it has, under version 1, is written$/,
    ))

  test('promote takes an old answer', () => {
    const lost = /^version 2 was made active, whose key app 0 had lost before it was asked$/
    for (const [name, bounds] of Object.entries({ losing, idle })) {
      fails(`old answers, ${name}`, without(bounds, 'freshAnswers'), lost, /commits$/)
    }
  })

  describe('a process wraps', () => {
    const lost = /^app 0 wrapped under version 1 a lease after its key was lost$/
    test('by an old proof', () =>
      fails('old proofs', without(losing, 'freshProofs'), lost, /seals under version 1$/))

    // A page of a sweep opens what it wraps, with the very key that wrapped it.
    test('by a proof that uses have renewed', () => {
      const busy = { ...losing, lease: 2 }
      const renewed = without(busy, 'canaryRenews')
      fails('uses renew', renewed, lost, /seals under version 1$/)
    })
  })

  test('a step that destroys without looking itself', () =>
    fails(
      'no guards of its own',
      without({ ...fencing, forges: true }, 'ownGuards'),
      /^an envelope is under version 1, which is destroyed$/,
      /(commits|is written)$/,
    ))

  describe('finish believes whoever says that settle is over', () => {
    test('and a version is left with envelopes under it', () =>
      fails(
        'finish counts nothing',
        without(forgedSweep, 'ownEnd'),
        /^rotation 1 completed with 1 envelopes under version 1$/,
        /a forged finish says that settle is over$/,
      ))

    test('and while somebody may still wrap under it', () =>
      fails(
        'finish looks at nobody',
        without(forgedSettle, 'ownEnd'),
        wrapped,
        /^app 0 seals under version 1$/,
      ))
  })

  describe('a copy of the keystore answers for the original', () => {
    test('and says that the fleet is past the switch', () =>
      fails(
        'a copy settles',
        without(copiedSettling, 'ownTasks'),
        wrapped,
        /^app 0 seals under version 1$/,
      ))

    test('and counts its own envelopes', () =>
      fails(
        'a copy counts',
        without(copiedCensus, 'ownTasks'),
        /^rotation 1 completed with 1 envelopes under version 1$/,
        /a copy counts nothing$/,
      ))
  })

  test('a copy destroys each key that its rows name', () =>
    fails(
      'keys of others',
      without(sharingToken, 'ownKeys'),
      /^an envelope is under version 1, whose key a copy destroyed$/,
      /^a copy destroys the key of version 1 that came with it$/,
    ))

  describe('an older state is put back', { timeout: long }, () => {
    test('and who has seen more goes on', () =>
      fails(
        'nobody heeds it',
        without(restoredRotations, 'heedsOlder'),
        /^app 0 wrapped under version \d after settle$/,
        /^app 0 seals under version \d$/,
      ))

    test('and a version counts as never used', () =>
      fails(
        'never used in this state',
        without(restoring, 'restoredRows'),
        /^app 0 may wrap under version 2, which is destroyed$/,
        /^destroy \(request 1\) commits$/,
      ))
  })

  describe('the guards of a removal', () => {
    const lost = /^an envelope is under version 1, which is destroyed$/
    test('count an odd envelope as none', () =>
      fails('odd is none', without(odd, 'oddCounts'), lost, /commits$/))

    test('count the odd ones first, and the others later', () =>
      fails('two moments', without(odd, 'oneMoment'), lost, /commits$/))
  })

  describe('an epoch read late', () => {
    // Rotations that end by themselves: then the epoch is all that tells a second attempt of promote that it is late.
    const patient: Bounds = { ...promoting, cancels: false, terminates: false }
    const alone = without(patient, 'rotationRow')
    test('lets an attempt that wakes after a rotation back switch once more', () =>
      fails('epoch read late', without(alone, 'epochOfPreflight'), backAgain, /commits$/))
    test('which the epoch of preflight alone prevents', () => holds('epoch alone', alone))
    test('and the filters of the rotation’s row too: each is there for the other', () =>
      holds('row alone', without(promoting, 'epochOfPreflight')))
    test('but after a cancel only the row knows: the epoch has not changed', () =>
      fails('no row', without(promoting, 'rotationRow'), backAgain, /commits$/))
  })
})
