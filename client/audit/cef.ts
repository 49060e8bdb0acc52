import canonicalize from 'canonicalize'
import type { ListedEntry } from '../../store/kek-audit.ts'
import { actorOf } from './read.ts'

/** ArcSight Common Event Format, version 0 (Micro Focus, "Implementing ArcSight Common Event Format"); docs/audit.md maps it. */

/** Severity from 0 to 10, by the action; others are `usual`. */
const severities: readonly [RegExp, number][] = [
  [/^malformed$/, 10],
  [/-(failed|destroying|destroyed|absent)$/, 8],
  [/-(refused|undone|discarded|copied|restored|moved|decommissioned|released)$/, 6],
  [/^(settings|policy|rotation)-/, 4],
]
const usual = 3

export function cefLine(entry: ListedEntry, version: string): string {
  const { _id, at, actor, action, subject, details, hash } = entry
  const { user, host } = actorOf(actor, details)
  const severity = severities.find(([pattern]) => pattern.test(action))?.[1] ?? usual
  const header = ['CEF:0', 'Keyturn', 'keyturn', version, action, action.replaceAll('-', ' ')]
  const extension: Record<string, string | null> = {
    rt: String(at.getTime()),
    externalId: _id === null ? null : String(_id),
    suser: user,
    shost: host,
    cs1Label: 'subject',
    cs1: subject,
    cs2Label: 'hash',
    cs2: hash,
    cs3Label: 'details',
    cs3: canonicalize(details) ?? '',
  }
  const members = Object.entries(extension).flatMap(([name, value]) => {
    return value === null || value === '' ? [] : [`${name}=${inExtension(value)}`]
  })
  return `${[...header.map(inHeader), String(severity)].join('|')}|${members.join(' ')}`
}

function inHeader(text: string): string {
  return text.replaceAll(/[\\|]/g, '\\$&').replaceAll(/[\r\n]+/g, ' ')
}

function inExtension(text: string): string {
  return text.replaceAll(/[\\=]/g, '\\$&').replaceAll('\r', '\\r').replaceAll('\n', '\\n')
}
