import type { RemovalView, StatusView } from '../../contracts/views.ts'
import { openKeyring } from '../../keyring/index.ts'
import type { ApplicationReport } from './application.ts'
import { count, milliseconds, secondsSince } from './figures.ts'
import { openEverything } from './final-check.ts'
import { expectThat } from './reporter.ts'
import type { Sealed } from './preparation.ts'
import type { Rotated } from './rotation.ts'
import type { DemoContext } from './demo-context.ts'

/** Ends the application and checks its report: it must have met no error. */
export async function finishApplication(
  { reporter }: DemoContext,
  { application }: Sealed,
): Promise<ApplicationReport> {
  const report = await application.finish()
  const { reads, writes, inserts, errors, slowestReadMs, slowestWriteMs } = report
  reporter.print(
    `the application: ${count(reads)} reads, ${count(writes)} writes, ${count(inserts)} inserts, ` +
      `${errors === 0 ? 'no errors' : `${count(errors)} errors`}; slowest read ${milliseconds(slowestReadMs)}, ` +
      `slowest write ${milliseconds(slowestWriteMs)}`,
  )
  expectThat(errors === 0, 'the application to meet no error', report.firstError ?? 'some')
  expectThat(reads > 0 && writes > 0, 'the application to read and write', 'that it did not')
  return report
}

/**
 * Checks that the counts add up exactly, in spite of the kill: each envelope came to v2 by the sweep or by a write of the
 * application. (The application may also write v1 once more during promote; that envelope is swept again.)
 */
export async function checkCounts(
  { reporter, store }: DemoContext,
  rotated: Rotated,
  report: ApplicationReport,
): Promise<void> {
  const { result, total } = rotated
  const certificates = await store.db.collection('certificates').countDocuments()
  const accounts = await store.db.collection('dns_accounts').countDocuments()
  const moves = (name: string) => report.moves[name] ?? 0
  const own = moves('0>2') + moves('1>2') - moves('2>1')
  const expected = certificates + accounts - own
  const { rewrapped, superseded, hsmCalls, durationSeconds } = result
  reporter.print(
    `completed in ${durationSeconds.toFixed(1)} s: ${count(rewrapped)} re-wrapped (of ${count(total)} counted at the start), ` +
      `${count(superseded)} superseded by the application's writes, 0 in quarantine, ${count(hsmCalls)} crypt calls`,
  )
  reporter.print(
    `exact: ${count(rewrapped)} re-wrapped + ${count(own)} that the application itself moved to v2 = ` +
      `${count(certificates + accounts)} envelopes`,
  )
  expectThat(
    rewrapped === expected,
    `exactly ${count(expected)} envelopes to be re-wrapped`,
    count(rewrapped),
  )
}

/** Opens every envelope, and compares version and plaintext with what was sealed. */
export async function openAndCompare(
  context: DemoContext,
  sealed: Sealed,
  report: ApplicationReport,
): Promise<void> {
  const { stack, reporter, store } = context
  const started = performance.now()
  const expected = new Map([...sealed.digests, ...Object.entries(report.written)])
  const keyring = await openKeyring({ config: stack.configPath, node: 'auditor', ephemeral: true })
  const opened = await openEverything(keyring, store.db, expected).finally(() => keyring.close())
  const underSecond = opened.byVersion.get(2) ?? 0
  reporter.print(
    `opened all ${count(expected.size)} envelopes in ${secondsSince(started)}: ${count(underSecond)} under v2, ` +
      `${count(opened.same)} with the same plaintext digest as before`,
  )
  const wrong = opened.wrong.join('; ')
  expectThat(opened.same === expected.size, 'every plaintext to be as before', wrong || 'fewer')
  expectThat(opened.missing === 0, 'every record to be there', `${opened.missing.toString()} gone`)
  expectThat(underSecond === expected.size, 'all under v2', `${underSecond.toString()} of them`)
}

/** Removes the old version, and its key in the HSM. */
export async function removeFirst({ stack, reporter, keyturn }: DemoContext): Promise<void> {
  const flags = stack.provider === 'pkcs11' ? ['--destroy-hsm-key'] : []
  const view = await keyturn.run<RemovalView>('remove', '--version', '1', ...flags)
  const passed = view.guards.filter((guard) => guard.ok).length
  reporter.print(
    `${passed.toString()} of ${view.guards.length.toString()} guards passed: ` +
      view.guards.map(({ guard }) => guard).join(', '),
  )
  expectThat(view.state === 'destroyed', 'v1 to be destroyed', view.state)
  const status = await keyturn.run<StatusView>('status')
  const versions = status.versions.map(({ version, state }) => `v${version.toString()} ${state}`)
  reporter.print(`${versions.join(', ')}; ${count(status.envelopes.total)} envelopes, all under v2`)
  expectThat(status.active?.version === 2, 'v2 to be active', JSON.stringify(status.active))
}
