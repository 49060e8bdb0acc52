import type { ScanView } from '../../contracts/views.ts'
import { count, plural } from './figures.ts'
import { table } from './tables.ts'

/** How many failures the text shows; `--json` has all. */
const shownFailures = 20

export function scanText(view: ScanView): string {
  const rows: [string, number][] = Object.entries(view.byVersion).map(([version, envelopes]) => [
    `v${version}`,
    envelopes,
  ])
  if (view.odd > 0) rows.push(['odd', view.odd])
  const parts = [plural(view.envelopes, 'envelope')]
  if (rows.length > 0) parts.push(table(['version', 'envelopes'], rows))
  if (view.opened !== null) {
    parts.push(`${plural(view.opened, 'envelope')} opened, ${count(failures(view))} failed`)
  }
  if (view.failed.length > 0) {
    const failed = view.failed
      .slice(0, shownFailures)
      .map(({ collection, id, field, kekVersion, code }) => [
        collection,
        typeof id === 'string' ? id : JSON.stringify(id),
        field,
        kekVersion === null ? 'odd' : `v${kekVersion}`,
        code,
      ])
    parts.push(table(['collection', 'id', 'field', 'version', 'code'], failed))
    const more = view.failed.length - shownFailures
    if (more > 0) parts.push(`and ${more} more: --json lists them`)
  }
  return parts.join('\n\n')
}

/** The number of failures, including odd envelopes that are not listed. */
export function failures({ odd, failed }: ScanView): number {
  return odd + failed.filter(({ kekVersion }) => kekVersion !== null).length
}
