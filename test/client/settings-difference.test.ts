import { describe, expect, test } from 'vitest'
import { droppedFields, settingsDifference } from '../../client/settings-difference.ts'
import { noApprovals, type FleetSettings } from '../../contracts/settings.ts'

const key = Buffer.alloc(32, 7).toString('base64')

const recorded: FleetSettings = {
  collections: [{ name: 'certificates', envelopes: ['chain', 'private_key'] }],
  fleet: { heartbeatMs: 30_000, leaseMs: 90_000, expireMs: 120_000 },
  removal: { backupWindowMs: 2_592_000_000, undoWindowMs: 0 },
}

describe('the difference between recorded settings and a file', () => {
  test('equal settings have no difference', () => {
    expect(settingsDifference(recorded, structuredClone(recorded))).toEqual([])
  })

  test('uses the keys of the file', () => {
    const wanted: FleetSettings = {
      collections: [{ name: 'certificates', envelopes: ['private_key', 'secrets.pin'] }],
      fleet: { ...recorded.fleet, leaseMs: 60_000 },
      removal: recorded.removal,
      approvals: { ...noApprovals, approvers: [{ name: 'alice', key }], remove: 1, settings: 1 },
    }
    expect(settingsDifference(recorded, wanted)).toEqual([
      'fleet.lease: 90s → 1m',
      'approvals.remove: 0 → 1',
      'approvals.settings: 0 → 1',
      'approvals.approvers: [] → [alice SHA256:gNSIRW+2Iyiuvsdp/bgjy38bvWHw6wQm3tuoXrl3WjQ]',
      'collections: − certificates.chain',
      'collections: + certificates.secrets.pin',
    ])
    expect(droppedFields(recorded, wanted)).toEqual([
      { name: 'certificates', envelopes: ['chain'] },
    ])
  })
})
