import type { ReportView } from '../../../contracts/report.ts'
import { seconds } from '../figures.ts'
import { markup, type Markup } from './markup.ts'
import { sectionsOf } from './sections.ts'
import { style } from './style.ts'

/** A report as one HTML page, for a browser or paper: no script, nothing loaded from elsewhere, every value escaped. */
export function reportPage(report: ReportView): string {
  const { rotation, from, to, install } = report
  const page = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${`${install.name}: rotation ${rotation}, v${from} to v${to}`}</title>
<style>${ownStyle}</style>
</head>
<body>
<h1>Rotation v${from} to v${to} of ${install.name}</h1>
${summary(report)}
${sectionsOf(report)}</body>
</html>
`
  return page.html
}

/** Ours, so it needs no escapes; in `style` they would not be read. */
const ownStyle: Markup = { html: style }

function summary(report: ReportView): Markup {
  const { rotation, outcome, phase, requestedBy, reason, error, truth } = report
  const { startedAt, endedAt } = report
  const until = endedAt === null ? ', and it runs' : ` to ${endedAt}`
  const took = seconds(truth.durationSeconds)
  return markup`<p><strong class="${colourOf(outcome)}">${outcome ?? `runs: ${phase}`}</strong> in ${took}</p>
${error === null ? null : markup`<p>${error.code}: ${error.message}</p>`}
<p>Asked for by ${requestedBy}${reason === '' ? '' : `: ${reason}`}</p>
<p class="faint">${startedAt}${until}</p>
<p class="faint"><code>${rotation}</code></p>`
}

function colourOf(outcome: ReportView['outcome']): string {
  return outcome === 'completed' || outcome === 'failed' ? outcome : 'other'
}
