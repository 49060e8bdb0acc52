import { describe, expect, test } from 'vitest'
import type { ReportView } from '../../contracts/report.ts'
import { reportText } from '../../cli/ui/present-report.ts'
import { rateSteps } from '../../cli/ui/report-page/chart.ts'
import { reportPage } from '../../cli/ui/report-page/page.ts'

const hostile = `</td><script>alert("1")</script><img src=x onerror='a'>&amp;\u202egnp.exe\u001b[2J`
const at = '2026-11-26T03:00:00.000Z'
const second = (seconds: number) => new Date(Date.parse(at) + 1_000 * seconds).toISOString()

function report(name: string): ReportView {
  const process = { node: name, pid: 7, role: 'worker' as const, live: true, current: 1, epoch: 2 }
  const fleet = { at, processes: [{ ...process, loaded: [1, 2], software: name }], more: 3 }
  const census = [{ collection: name, field: name, from: 12_345, to: 0, other: 1, odd: 2 }]
  const key = {
    provider: 'pkcs11' as const,
    store: name,
    label: name,
    origin: 'generated' as const,
    madeBy: name,
    createdAt: at,
    gcm: { ivMode: 'caller' as const, ivLength: 12, tagBits: 128 },
    token: { serial: name, label: name, manufacturer: name, model: name },
  }
  return {
    install: { name, id: '00ff' },
    rotation: name,
    workflowId: name,
    runId: name,
    from: 1,
    to: 2,
    phase: 'finish',
    outcome: 'failed',
    requestedBy: name,
    reason: name,
    startedAt: at,
    promotedAt: at,
    settledAt: null,
    endedAt: second(100),
    phases: [{ phase: 'rewrap', at, seconds: 100 }],
    options: { page: 1_000, shards: 'auto', check: 'all', priority: 'rotation' },
    plan: { envelopes: 9, hsmCalls: 27, durationSeconds: 90, check: 'all', maxRate: 0 },
    truth: {
      envelopes: 9,
      rewrapped: 5,
      superseded: 1,
      quarantined: 3,
      hsmCalls: 20,
      remaining: 0,
      durationSeconds: 100,
      ratePerSecond: null,
    },
    hsmQuota: { max: 50, reserved: 30 },
    before: census,
    after: census,
    samples: [
      { at: second(10), envelopes: 1_000, hsmCalls: 3_000 },
      { at: second(10), envelopes: 1_000, hsmCalls: 3_000 },
      { at: second(20), envelopes: 1_000, hsmCalls: 3_000 },
      { at: second(60), envelopes: 9_000, hsmCalls: 27_000 },
    ],
    quarantine: [{ collection: name, field: name, code: name, message: name, envelopes: 3 }],
    fleet: { atPromote: fleet, atSettle: fleet },
    software: [{ software: name, processes: 1 }],
    silent: [name],
    probe: { from: { ...key, version: 1 }, to: { ...key, version: 2 } },
    approvals: [
      {
        request: name,
        requestedBy: name,
        requestedAt: at,
        usedAt: at,
        digest: 'cd'.repeat(32),
        approvedBy: [{ name, at }],
      },
    ],
    events: [{ at, action: name, actor: name }],
    auditHead: { entries: 4, head: 'ab'.repeat(32) },
    error: { code: 'rotation-failed', message: name },
  }
}

/** A rotation that was refused at its start. */
const empty: ReportView = {
  ...report('plain'),
  outcome: null,
  phases: [],
  plan: null,
  before: null,
  after: null,
  samples: [],
  quarantine: [],
  fleet: { atPromote: null, atSettle: null },
  software: [],
  silent: [],
  probe: { from: null, to: null },
  approvals: [],
  events: [],
  error: null,
}

const voids = new Set(['meta', 'br', 'img', 'hr', 'link', 'input'])

/** The elements of a page, each closed by its own end tag. Throws at markup that an HTML parser would have to repair. */
function elementsOf(page: string): string[] {
  const [, rest = ''] = /^<!doctype html>\n(.*)$/s.exec(page) ?? []
  const open: string[] = []
  const seen: string[] = []
  const tag = /<(\/?)([a-z][a-z0-9]*)((?: [a-zA-Z][a-zA-Z0-9-]*="[^"<>]*")*)(\/?)>/g
  const between = rest
    .replace(/<style>[^<]*<\/style>/, '')
    .replace(tag, (_, end, name, __, self) => {
      if (end === '/') expect(open.pop()).toBe(name)
      else {
        seen.push(name as string)
        if (self !== '/' && !voids.has(name as string)) open.push(name as string)
      }
      return ''
    })
  expect(open).toEqual([])
  expect(between).not.toMatch(/[<>]/)
  expect(between.replace(/&(?:amp|lt|gt|quot|#39);/g, '')).not.toContain('&')
  return seen
}

describe('the page of a report', () => {
  test('is whole HTML and holds nothing that loads or runs, whatever names the fleet has', () => {
    const page = reportPage(report(hostile))
    const plain = elementsOf(reportPage(report('plain')))
    expect(elementsOf(page)).toEqual(plain)
    expect(new Set(plain)).not.toContain('script')
    expect(page).not.toMatch(/https?:|url\(|@import|<link|<img|<script/)
    expect(page).toContain('&lt;/td&gt;&lt;script&gt;alert(&quot;1&quot;)')
    expect(page).toContain('&amp;amp;\\u202egnp.exe\\u001b[2J')
    // Control characters are what must not be there.
    // eslint-disable-next-line no-control-regex
    expect(page).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)
  })

  test('has every section, light and dark, and a style for paper', () => {
    const page = reportPage(report('plain'))
    for (const text of ['12,345', 'v1 before', 'rotation-failed', 'abababab', 'caller, 12 bytes']) {
      expect(page).toContain(text)
    }
    expect(page).toContain('prefers-color-scheme: dark')
    expect(page).toContain('@media print')
    expect(page).toContain("default-src 'none'")
  })

  test('of a rotation that has done nothing yet has no chart', () => {
    const page = reportPage(empty)
    expect(elementsOf(page)).not.toContain('svg')
    expect(page).toContain('At promote: not reached')
  })

  test('draws the rate between each two reads of the counters', () => {
    expect(rateSteps(report('plain'))).toEqual([
      { from: 0, until: 10, rate: 100 },
      { from: 10, until: 20, rate: 0 },
      { from: 20, until: 60, rate: 200 },
    ])
    const page = reportPage(report('plain'))
    expect(page).toContain('aria-label="envelopes a second over 60 s, at most 200"')
    expect(page).toContain('M64 156')
  })
})

describe('the text of a report', () => {
  test('shows what moves the cursor, or turns the text around, as escapes', () => {
    const text = reportText(report(hostile))
    // The text has colors; no other escape sequence may be there.
    // eslint-disable-next-line no-control-regex
    expect(text.replace(/\u001b\[\d+m/g, '')).not.toMatch(/[\u001b\u202e]/)
    expect(text).toContain('\\u202egnp.exe\\u001b[2J')
  })

  test('leaves out the sections that have nothing', () => {
    const text = reportText(empty)
    expect(text).not.toContain('in quarantine')
    expect(text).not.toContain('fleet')
    expect(text).toContain('audit head: abab')
  })
})
