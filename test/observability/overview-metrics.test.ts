import { expect, test } from 'vitest'
import type { DatedOverview } from '../../contracts/overview.ts'
import { createMetrics } from '../../observability/metrics.ts'

const overview: DatedOverview = {
  asOf: '2026-01-02T03:04:05.000Z',
  active: { version: 2, epoch: 3, since: '2026-01-01T00:00:00.000Z' },
  versions: [
    {
      version: 2,
      state: 'active',
      envelopes: 5,
      wraps: 7,
      activatedAt: '2026-01-01T00:00:00.000Z',
      removalDueAt: null,
      failingGuards: [],
    },
    {
      version: 1,
      state: 'pending-removal',
      envelopes: 3,
      wraps: 9,
      activatedAt: '2025-01-01T00:00:00.000Z',
      removalDueAt: '2026-02-01T00:00:00.000Z',
      failingGuards: ['census-zero'],
    },
  ],
  census: [
    { collection: 'certificates', version: 1, envelopes: 3 },
    { collection: 'certificates', version: 2, envelopes: 5 },
  ],
  odd: [{ collection: 'accounts', envelopes: 1 }],
  quarantined: 1,
  requestsOpen: 4,
  rotation: {
    id: 'r',
    from: 1,
    to: 2,
    phase: 'rewrap',
    startedAt: '2026-01-02T00:00:00.000Z',
    total: 8,
    rewrapped: 3,
    superseded: 1,
    quarantined: 0,
  },
  lastRotation: null,
  lastCompletedAt: '2026-01-01T00:00:10.000Z',
  fleet: { live: 2, degraded: 0, silent: 1, missing: 0 },
  processes: [],
}

async function lines(shown: DatedOverview | null): Promise<string[]> {
  const metrics = createMetrics({ install: 'i', node: 'n', keystoreMetrics: true })
  metrics.setOverview(overview)
  metrics.setOverview(shown)
  const text = (await metrics.render()).replaceAll(/,?install="i",node="n"/g, '')
  const ours =
    /^keyturn_(overview|envelopes|quarantined_env|rotation|kek|removal|guard|fleet|requests)/
  return text.split('\n').filter((line) => ours.test(line))
}

test('the metrics of the keystore show the overview', async () => {
  const seconds = (iso: string) => Date.parse(iso) / 1_000
  expect(await lines(overview)).toEqual(
    expect.arrayContaining([
      `keyturn_overview_timestamp_seconds{} ${seconds(overview.asOf)}`,
      'keyturn_envelopes{version="1",collection="certificates"} 3',
      'keyturn_envelopes{version="2",collection="certificates"} 5',
      'keyturn_envelopes_odd{collection="accounts"} 1',
      'keyturn_quarantined_envelopes{} 1',
      'keyturn_requests_open{} 4',
      'keyturn_rotation_phase{phase="rewrap"} 1',
      'keyturn_rotation_phase{phase="settle"} 0',
      'keyturn_rotation_progress_ratio{} 0.5',
      `keyturn_rotation_last_completed_timestamp_seconds{} ${seconds('2026-01-01T00:00:10.000Z')}`,
      `keyturn_kek_activated_timestamp_seconds{version="2"} ${seconds('2026-01-01T00:00:00.000Z')}`,
      'keyturn_kek_wraps{version="1"} 9',
      `keyturn_removal_due_timestamp_seconds{version="1"} ${seconds('2026-02-01T00:00:00.000Z')}`,
      'keyturn_guard_failing{version="1",guard="census-zero"} 1',
      'keyturn_fleet_processes{state="silent"} 1',
    ]),
  )
})

test('progress is absent when no rotation runs, and all is absent without an overview', async () => {
  const idle = await lines({ ...overview, rotation: null, lastCompletedAt: null })
  expect(idle.filter((line) => /progress|last_completed/.test(line))).toEqual([])
  expect(await lines(null)).toEqual([])
})
