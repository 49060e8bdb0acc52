import { describe, expect, test } from 'vitest'
import { droppedFields, settingsDifference } from '../../client/settings-difference.ts'
import type { FleetSettings } from '../../contracts/settings.ts'

const recorded: FleetSettings = {
  collections: [{ name: 'certificates', envelopes: ['chain', 'private_key'] }],
  fleet: { heartbeatMs: 30_000, leaseMs: 90_000, expireMs: 120_000 },
  removal: { backupWindowMs: 2_592_000_000, undoWindowMs: 0, approvalsRequired: 0, approvers: [] },
}

describe('the difference between recorded settings and a file', () => {
  test('equal settings have no difference', () => {
    expect(settingsDifference(recorded, structuredClone(recorded))).toEqual([])
  })

  test('uses the keys of the file', () => {
    const wanted: FleetSettings = {
      collections: [{ name: 'certificates', envelopes: ['private_key', 'secrets.pin'] }],
      fleet: { ...recorded.fleet, leaseMs: 60_000 },
      removal: { ...recorded.removal, approvers: ['alice', 'bob'] },
    }
    expect(settingsDifference(recorded, wanted)).toEqual([
      'fleet.lease: 90s → 1m',
      'removal.approvers: [] → [alice, bob]',
      'collections: − certificates.chain',
      'collections: + certificates.secrets.pin',
    ])
    expect(droppedFields(recorded, wanted)).toEqual([
      { name: 'certificates', envelopes: ['chain'] },
    ])
  })
})
