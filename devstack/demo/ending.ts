import type { RemovalView, StatusView } from '../../contracts/views.ts'
import { openKeyring } from '../../keyring/index.ts'
import type { Life } from './application.ts'
import { count, milliseconds, secondsSince } from './figures.ts'
import { openEverything } from './final-check.ts'
import { expectThat } from './reporter.ts'
import type { Sealed } from './preparation.ts'
import type { Rotated } from './rotation.ts'
import type { DemoContext } from './demo-context.ts'

/** What the application lived through. It must not have noticed anything. */
export async function hearApplication(
  { tell }: DemoContext,
  { application }: Sealed,
): Promise<Life> {
  const life = await application.finish()
  const { reads, writes, inserts, errors, slowestReadMs, slowestWriteMs } = life
  tell.say(
    `the application: ${count(reads)} reads, ${count(writes)} writes, ${count(inserts)} inserts, ` +
      `${errors === 0 ? 'no errors' : `${count(errors)} errors`}; slowest read ${milliseconds(slowestReadMs)}, ` +
      `slowest write ${milliseconds(slowestWriteMs)}`,
  )
  expectThat(errors === 0, 'the application to meet no error', life.firstError ?? 'some')
  expectThat(reads > 0 && writes > 0, 'the application to read and write', 'that it did not')
  return life
}

/**
 * The numbers must add up, exactly, in spite of the kill: whatever stands there now came to v2 by the sweep or by the
 * application's own hand. (It may also have put back v1 while promote was on its way; that is swept again.)
 */
export async function balance(
  { tell, store }: DemoContext,
  rotated: Rotated,
  life: Life,
): Promise<void> {
  const { result, total } = rotated
  const certificates = await store.db.collection('certificates').countDocuments()
  const accounts = await store.db.collection('dns_accounts').countDocuments()
  const moves = (name: string) => life.moves[name] ?? 0
  const own = moves('0>2') + moves('1>2') - moves('2>1')
  const expected = certificates + accounts - own
  const { rewrapped, superseded, hsmCalls, durationSeconds } = result
  tell.say(
    `completed in ${durationSeconds.toFixed(1)} s: ${count(rewrapped)} re-wrapped (of ${count(total)} counted at the start), ` +
      `${count(superseded)} superseded by the application's writes, 0 in quarantine, ${count(hsmCalls)} crypt calls`,
  )
  tell.say(
    `exact: ${count(rewrapped)} re-wrapped + ${count(own)} that the application itself moved to v2 = ` +
      `${count(certificates + accounts)} envelopes`,
  )
  expectThat(
    rewrapped === expected,
    `exactly ${count(expected)} envelopes to be re-wrapped`,
    count(rewrapped),
  )
}

/** Every envelope opened under v2, every plaintext compared with the one from before. */
export async function openAndCompare(
  context: DemoContext,
  sealed: Sealed,
  life: Life,
): Promise<void> {
  const { stack, tell, store } = context
  const started = performance.now()
  const expected = new Map([...sealed.digests, ...Object.entries(life.written)])
  const keyring = await openKeyring({ config: stack.configPath, node: 'auditor', ephemeral: true })
  const opened = await openEverything(keyring, store.db, expected).finally(() => keyring.close())
  const underSecond = opened.byVersion.get(2) ?? 0
  tell.say(
    `opened all ${count(expected.size)} envelopes in ${secondsSince(started)}: ${count(underSecond)} under v2, ` +
      `${count(opened.same)} with the same plaintext digest as before`,
  )
  const wrong = opened.wrong.join('; ')
  expectThat(opened.same === expected.size, 'every plaintext to be as before', wrong || 'fewer')
  expectThat(opened.missing === 0, 'every record to be there', `${opened.missing.toString()} gone`)
  expectThat(underSecond === expected.size, 'all under v2', `${underSecond.toString()} of them`)
}

/** The old key goes, guarded, and with it the HSM object. */
export async function removeFirst({ stack, tell, keyturn }: DemoContext): Promise<void> {
  const flags = stack.provider === 'pkcs11' ? ['--destroy-hsm-key'] : []
  const view = await keyturn.run<RemovalView>('remove', '--version', '1', ...flags)
  const passed = view.guards.filter((guard) => guard.ok).length
  tell.say(
    `${passed.toString()} of ${view.guards.length.toString()} guards passed: ` +
      view.guards.map(({ guard }) => guard).join(', '),
  )
  expectThat(view.state === 'destroyed', 'v1 to be destroyed', view.state)
  const status = await keyturn.run<StatusView>('status')
  const versions = status.versions.map(({ version, state }) => `v${version.toString()} ${state}`)
  tell.say(`${versions.join(', ')}; ${count(status.envelopes.total)} envelopes, all under v2`)
  expectThat(status.active?.version === 2, 'v2 to be active', JSON.stringify(status.active))
}
