import type { ScanView } from '../../contracts/views.ts'
import { recheckQuarantine } from '../../store/rewrap-quarantine.ts'
import { kekDescriptor, readVersions } from '../../store/kek-versions.ts'
import type { KekDescriptor } from '../../contracts/kek.ts'
import type { Keystore } from '../keystore.ts'
import { ejson } from './ejson.ts'

/** The installed versions that are not destroyed, as a provider needs them to load their keys. */
export async function loadableKeks({ store }: Keystore): Promise<KekDescriptor[]> {
  const rows = await readVersions(store)
  return rows
    .filter(({ destroyed_at }) => destroyed_at === null)
    .map(kekDescriptor)
    .filter((descriptor) => descriptor !== null)
}

/** What a scan opened, with ids as EJSON. Clears the quarantine rows of envelopes that were repaired. */
export async function openingView(
  { store }: Keystore,
  census: { opened: number; failed: ScanView['failed'] },
): Promise<Pick<ScanView, 'opened' | 'failed'>> {
  await recheckQuarantine(store)
  const failed = census.failed.map((envelope) => ({ ...envelope, id: ejson(envelope.id) }))
  return { opened: census.opened, failed }
}
