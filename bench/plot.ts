import type { BenchFigures, Figure, Series } from './figures.ts'

/** Draws a run as SVG: a bar for each figure with its single runs, by unit, and lines over time. */

const width = 860
const left = 330
const right = 90
const rowHeight = 26
const lineHeight = 180
const colours = ['#4e79a7', '#f28e2b', '#59a14f', '#e15759', '#76b7b2', '#b07aa1']

export function plot(title: string, { figures, series = [] }: BenchFigures): string {
  const parts = [text(12, 24, escaped(title), 'font-size="15" font-weight="bold"')]
  let top = 44
  for (const unit of new Set(figures.map((one) => one.unit))) {
    const bars = figures.filter((one) => one.unit === unit)
    parts.push(text(left, top + 12, escaped(unit), 'font-weight="bold"'))
    parts.push(...barRows(bars, top + 20))
    top += 40 + bars.length * rowHeight
  }
  for (const one of series) {
    parts.push(...line(one, top))
    top += lineHeight + 50
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    ...parts,
    '</svg>\n',
  ].join('\n')
}

function barRows(bars: readonly Figure[], top: number): string[] {
  const most = Math.max(1, ...bars.flatMap(({ runs }) => runs))
  const scale = (value: number) => (value / most) * (width - left - right)
  return bars.flatMap(({ name, value, runs }, index) => {
    const y = top + index * rowHeight
    const colour = colours[name.includes('pkcs11') ? 1 : name.includes('env') ? 0 : 2] ?? 'grey'
    const length = scale(value)
    return [
      text(left - 8, y + 14, escaped(name), 'text-anchor="end"'),
      `<rect x="${left}" y="${y}" width="${length.toFixed(1)}" height="18" fill="${colour}"/>`,
      ...runs.map((run) => {
        const x = (left + scale(run)).toFixed(1)
        return `<line x1="${x}" x2="${x}" y1="${y}" y2="${y + 18}" stroke="black"/>`
      }),
      text(left + scale(Math.max(value, ...runs)) + 6, y + 14, Math.round(value).toString()),
    ]
  })
}

function line({ name, unit, points }: Series, top: number): string[] {
  const lastX = Math.max(1, ...points.map(([x]) => x))
  const mostY = Math.max(1, ...points.map(([, y]) => y))
  const bottom = top + 24 + lineHeight
  const at = ([x, y]: [number, number]) =>
    [
      (60 + (x / lastX) * (width - 60 - right)).toFixed(1),
      (bottom - (y / mostY) * lineHeight).toFixed(1),
    ].join(',')
  return [
    text(12, top + 12, escaped(`${name} (${unit})`), 'font-weight="bold"'),
    `<path d="M60 ${top + 24}V${bottom}H${width - right}" fill="none" stroke="grey"/>`,
    text(54, top + 30, Math.round(mostY).toString(), 'text-anchor="end"'),
    text(54, bottom, '0', 'text-anchor="end"'),
    text(width - right, bottom + 14, `${Math.round(lastX).toString()} s`, 'text-anchor="end"'),
    `<polyline points="${points.map(at).join(' ')}" fill="none" stroke="${colours[0] ?? 'blue'}" stroke-width="2"/>`,
  ]
}

function text(x: number, y: number, words: string, attributes = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${words}</text>`
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
