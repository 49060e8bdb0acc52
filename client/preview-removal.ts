import { KeyturnError } from '../contracts/errors.ts'
import type { Config } from '../contracts/settings.ts'
import type { RemovalOptions } from '../contracts/removal.ts'
import type { Guard } from '../contracts/views.ts'
import { ownKeyRefusal } from '../protocol/own-key.ts'
import { removalFacts } from '../protocol/removal-facts.ts'
import { refusalOf, removalGuards } from '../protocol/removal-guards.ts'
import { hsmKeyOf } from '../protocol/removal-phase.ts'
import { readApproval } from '../store/approval-use.ts'
import { readSettings } from '../store/kek-settings.ts'
import { removalSubject } from '../store/removal-approval.ts'
import { readForRemoval } from '../store/removal-reading.ts'
import { currentRemoval } from '../store/removal-requests.ts'
import { requireInstalled, withKeystore, type Keystore } from './keystore.ts'
import { usesOf } from './views/uses.ts'
import { requireVersion } from './views/versions.ts'
import { fromReport } from './temporal/failures.ts'
import type { RemovalReply, RemoveRequest } from './removal-reply.ts'

/** All guards of a removal as they are now, for `remove --dry-run`. Reads only. */
export async function previewRemoval(
  config: Config,
  request: RemoveRequest,
): Promise<RemovalReply> {
  return withKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    const { version } = request
    const { row, state } = await requireVersion(keystore.store, version)
    const uses = await usesOf(keystore.store, row)
    const shown = { version, state, hsmKey: hsmKeyOf(row), uses }
    const foreign = request.destroyHsmKey ? ownKeyRefusal(row, install) : null
    if (state === 'destroyed') {
      return { view: { ...shown, dueAt: null, guards: [] }, error: foreign, leftover: null }
    }
    const planned = await currentRemoval(keystore.store, version)
    const guards = await guardsNow(keystore, version, request)
    const dueAt = row.removal?.due_at ?? planned?.not_before ?? null
    const view = { ...shown, dueAt: dueAt?.toISOString() ?? null, guards }
    return {
      view,
      error: foreign ?? fromReport(refusalOf(version, guards), 'removal-refused'),
      leftover: null,
    }
  })
}

/** All guards as this process reads them. A worker reads them again before it decides. */
export async function guardsNow(
  { store, settings }: Keystore,
  version: number,
  options: RemovalOptions,
): Promise<Guard[]> {
  const reading = await readForRemoval(store, version, settings.collections)
  const { row } = reading
  if (row === null) throw new KeyturnError('version-unknown', `version "${version}" is gone`)
  const subject = await removalSubject(store, version, options, settings.collections)
  const standing = await currentRemoval(store, version)
  const approval = await readApproval(store, subject, { usedFor: standing?._id })
  const facts = removalFacts(
    { ...reading, row },
    {
      settings: (await readSettings(store))?.sha256.toString('hex') ?? null,
      backupWindowMs: settings.removal.backupWindowMs,
      approvalsRequired: approval.required,
      approvedBy: approval.by,
      acceptQuarantine: options.acceptQuarantine,
      withoutFence: options.withoutFence,
      fenced: (row.removal?.fenced_at ?? null) !== null,
      ownNow: new Date(),
    },
  )
  return removalGuards(facts)
}
