import type { ReportView } from '../../../contracts/report.ts'
import { count, seconds } from '../figures.ts'
import { markup, type Markup } from './markup.ts'

/** Of the drawing, in its own units. */
const size = { width: 720, height: 190, left: 64, right: 28, top: 12, bottom: 34 }

/** Between two samples: begin and end in seconds since the sweep began, and the envelopes a second. */
export interface RateStep {
  from: number
  until: number
  rate: number
}

/** The rate between each two samples; the first counts from the sweep's begin. */
export function rateSteps({ samples, phases, promotedAt }: ReportView): RateStep[] {
  const began = phases.find(({ phase }) => phase === 'rewrap')?.at ?? promotedAt
  if (began === null) return []
  const steps: RateStep[] = []
  let before = { at: Date.parse(began), envelopes: 0 }
  const origin = before.at
  for (const { at, envelopes } of samples) {
    const now = { at: Date.parse(at), envelopes }
    // Two reads at the same moment give no rate.
    if (now.at - before.at < 1) continue
    const rate = Math.max(0, now.envelopes - before.envelopes) / ((now.at - before.at) / 1_000)
    steps.push({ from: (before.at - origin) / 1_000, until: (now.at - origin) / 1_000, rate })
    before = now
  }
  return steps
}

/** Envelopes a second over time, as an SVG; null without samples. */
export function rateChart(report: ReportView): Markup | null {
  const steps = rateSteps(report)
  const last = steps.at(-1)
  if (last === undefined) return null
  const highest = Math.max(...steps.map(({ rate }) => rate), 1)
  const bottom = size.height - size.bottom
  const x = (at: number) =>
    round(size.left + (at / last.until) * (size.width - size.left - size.right))
  const y = (rate: number) => round(bottom - (rate / highest) * (bottom - size.top))
  const outline = steps.map(({ from, until, rate }) => `L${x(from)} ${y(rate)}H${x(until)}`)
  const path = `M${x(0)} ${bottom}${outline.join('')}V${bottom}Z`
  const label = `envelopes a second over ${seconds(last.until)}, at most ${count(highest)}`
  return markup`<figure>
<svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${label}">
<path class="area" d="${path}"/>
${[0, 0.5, 1].map((part) => gridLine(y(highest * part), count(highest * part)))}
${[0, 0.25, 0.5, 0.75, 1].map((part) => tick(x(last.until * part), seconds(last.until * part)))}
</svg>
<figcaption>Envelopes a second since the sweep began. Each step is the mean between two reads of the counters, which become rarer as the rotation goes on.</figcaption>
</figure>`
}

function gridLine(y: number, label: string): Markup {
  const { left, right, width } = size
  return markup`<line class="grid" x1="${left}" y1="${y}" x2="${width - right}" y2="${y}"/><text x="${left - 6}" y="${y + 4}" text-anchor="end">${label}</text>`
}

function tick(x: number, label: string): Markup {
  return markup`<text x="${x}" y="${size.height - 12}" text-anchor="middle">${label}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
