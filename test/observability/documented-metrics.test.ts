import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createMetrics } from '../../observability/metrics.ts'

/** Labels by metric, as the tables of docs/configuration.md have them: `name{label,label}`. */
function documented(): Record<string, string[]> {
  const text = readFileSync('docs/configuration.md', 'utf8')
  const section = text.slice(text.indexOf('\n## Metrics\n'), text.indexOf('\n## Log\n'))
  const rows = section.split('\n').filter((line) => line.startsWith('| `'))
  const names = rows.flatMap((row) => [
    ...(row.split(' | ')[0] ?? '').matchAll(/`(\w+)(?:\{([\w,]+)\})?`/g),
  ])
  return Object.fromEntries(
    names.map(([, name = '', labels]) => [name, labels?.split(',').sort() ?? []]),
  )
}

test('each metric is documented with its labels, and each documented metric exists', () => {
  const { registry } = createMetrics({ install: 'i', node: 'n', keystoreMetrics: true })
  const registered = registry.getMetricsAsArray().map((metric) => {
    const { name, labelNames = [] } = metric as unknown as { name: string; labelNames?: string[] }
    // Declared by the metrics of the policy, and never set: without it they would begin with 0.
    return [name, labelNames.filter((label) => label !== 'policy').sort()]
  })
  expect(documented()).toEqual(Object.fromEntries(registered))
})
