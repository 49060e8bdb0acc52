import { mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ReportView } from '../../contracts/report.ts'
import { endRotation, insertRotation } from '../../store/rotations.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { pausedRotation, slowRotation } from '../support/paused-rotation.ts'

/** Reports of rotations that ran, read by commands that reach neither Temporal nor a worker. */
const envelopes = 300
let fleet: Fleet
let alone: string

beforeAll(async () => {
  fleet = await openFleet({ provider: 'env' })
  await fleet.fill(envelopes)
  alone = await fleet.writeConfig('alone', { temporal: { address: '127.0.0.1:1' } })
})
afterAll(async () => {
  await fleet.close()
})

const read = async (rotation: string, ...args: string[]) =>
  (await fleet.must('--config', alone, 'report', rotation, ...args)) as unknown as ReportView

const sumOf = (counts: ReportView['before'], member: 'from' | 'to') =>
  counts?.reduce((sum, each) => sum + each[member], 0)

describe('the report', () => {
  test('of a running and of a cancelled rotation says how far it came', async () => {
    const { rotation } = await slowRotation(
      fleet,
      '--reason',
      'yearly "<b>"',
      '--max-hsm-calls',
      '9000',
    )
    const { rotationId } = await fleet.must('rotate', '--to-version', '2', '--detach')
    const running = await read(rotationId)
    expect(running).toMatchObject({ outcome: null, phase: 'rewrap', after: null, error: null })
    expect(running.reason).toBe('yearly "<b>"')
    expect(sumOf(running.before, 'from')).toBe(envelopes)
    expect(running.fleet.atPromote?.processes).toHaveLength(2)
    expect(running.hsmQuota.max).toBe(9_000)
    await fleet.must('cancel')
    await rotation.end()
    const ended = await read(rotationId)
    expect(ended).toMatchObject({ outcome: 'cancelled', error: { code: 'cancelled' } })
    const { rewrapped } = ended.truth
    expect(rewrapped).toBeGreaterThan(0)
    expect([sumOf(ended.after, 'from'), sumOf(ended.after, 'to')]).toEqual([
      envelopes - rewrapped,
      rewrapped,
    ])
  })

  test('of a completed rotation has all of it, long after Temporal and the workers are gone', async () => {
    const { rotation } = await pausedRotation(fleet)
    await fleet.must('rate', '0')
    await fleet.must('resume')
    const { json } = await rotation.end()
    const { rotationId, rewrapped } = json
    for (const node of ['vm-a', 'vm-b']) await fleet.nodes.kill(node)
    const file = path.join(fleet.folder, 'rotation.html')
    const report = await read(rotationId, '--html', file)
    expect(report).toMatchObject({ outcome: 'completed', from: 2, to: 1, silent: [], error: null })
    expect(report.phases.map(({ phase }) => phase)).toEqual(
      expect.arrayContaining(['preflight', 'verify', 'promote', 'rewrap', 'settle', 'finish']),
    )
    expect(sumOf(report.before, 'from')).toBe(rewrapped)
    expect(sumOf(report.after, 'to')).toBe(envelopes)
    expect(report.samples.at(-1)).toMatchObject({ envelopes: rewrapped })
    const { atPromote, atSettle } = report.fleet
    expect(atPromote?.processes.map(({ node, epoch }) => [node, epoch])).toEqual([
      ['vm-a', 2],
      ['vm-b', 2],
    ])
    expect(atPromote?.processes[0]).toMatchObject({ live: true, loaded: [2, 1], role: 'worker' })
    expect(atSettle?.processes.map(({ node, epoch }) => [node, epoch])).toEqual([
      ['vm-a', 3],
      ['vm-b', 3],
    ])
    expect(report.software).toEqual([
      { software: expect.stringMatching(/^keyturn \S+, node \d+\./) as string, processes: 2 },
    ])
    expect(report.probe.to).toMatchObject({
      ...{ version: 1, provider: 'env', token: null },
      gcm: { ivMode: 'caller', ivLength: 12, tagBits: 128 },
    })
    expect(report.approvals).toEqual([])
    expect(report.events.map(({ action }) => action)).toEqual([
      'rotation-requested',
      'rotation-started',
      'rotation-promoted',
      'rotation-paused',
      'rotation-rate-changed',
      'rotation-resumed',
      'rotation-completed',
    ])
    const head = await fleet.must('--config', alone, 'audit', 'head')
    expect(report.auditHead).toEqual({ entries: head['entries'], head: head['head'] })
    const page = await readFile(file, 'utf8')
    for (const text of [rotationId, report.auditHead.head, 'vm-a', '<svg', 'certificates']) {
      expect(page).toContain(text)
    }
  })

  test('of a failed rotation has its error, and parts that were never reached are absent', async () => {
    const rotation = 'r-failed'
    await insertRotation(fleet.store, {
      rotation,
      ...{ from: 2, to: 1, requestedBy: 'policy', reason: 'scheduled', maxHsmCalls: 0 },
      ...{ page: 50, shards: 1, check: 'all', workflowId: 'w', runId: null, worker: 'vm-a' },
    })
    const error = { code: 'rotation-failed' as const, message: 'its workflow was gone' }
    await endRotation(fleet.store, rotation, 'failed', { error })
    expect(await read(rotation)).toMatchObject({
      ...{ outcome: 'failed', requestedBy: 'policy', error, before: null, plan: null, samples: [] },
      fleet: { atPromote: null, atSettle: null },
    })
  })

  test('of an unknown rotation, and a page that cannot be written, are refused', async () => {
    const none = await fleet.cli('--config', alone, 'report', 'r-none')
    expect(none).toMatchObject({ code: 3, json: { error: { code: 'no-rotation' } } })
    const folder = path.join(fleet.folder, 'reports')
    await mkdir(folder)
    const refused = await fleet.cli('--config', alone, 'report', 'r-failed', '--html', folder)
    expect(refused).toMatchObject({ code: 2, json: { error: { code: 'usage' } } })
    expect(refused.stderr).toContain(`cannot write "${folder}"`)
  })
})
