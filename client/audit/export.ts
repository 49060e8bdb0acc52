import canonicalize from 'canonicalize'
import { packageVersion } from '../../config/package-version.ts'
import type { Config } from '../../contracts/settings.ts'
import { chainAuditFirst } from '../../store/audit-chain.ts'
import { eachEntry, type ListedEntry } from '../../store/kek-audit.ts'
import { withKeystore } from '../keystore.ts'
import { cefLine } from './cef.ts'

export type ExportFormat = 'jsonl' | 'cef'

/**
 * The whole record, oldest first, a line for each entry. `jsonl`: the RFC 8785 form of the entry; without its member `hash`
 * it is what the hash is over.
 */
export async function exportAudit(
  config: Config,
  format: ExportFormat,
  line: (text: string) => void,
): Promise<void> {
  await withKeystore(config, async ({ store }) => {
    await chainAuditFirst(store)
    const version = packageVersion()
    for await (const entry of eachEntry(store)) {
      line(format === 'cef' ? cefLine(entry, version) : jsonLine(entry))
    }
  })
}

function jsonLine(entry: ListedEntry): string {
  return canonicalize({ ...entry, at: entry.at.toISOString() }) ?? ''
}
