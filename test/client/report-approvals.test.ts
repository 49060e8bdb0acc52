import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { usedApprovals } from '../../client/views/report-record.ts'
import { approvalText } from '../../store/approval-text.ts'
import { keystore } from '../../store/keystore.ts'
import { testStore } from '../store/support.ts'

const at = new Date(2026, 10, 26)

test('the approvals of a report are those of the requests that were used for its rotation', async () => {
  const store = await testStore()
  const request = {
    action: 'rotate' as const,
    subject: 'v2',
    options: { from: 1, to: 2 },
    requested_by: 'ann@vm-a',
    requested_at: at,
    expires_at: at,
    approvals: [{ name: 'bob', signature: 'AA==', at }],
    used_at: at,
  }
  const used = { ...request, _id: 'q-1', state: 'used' as const, used_for: 'r-1' }
  const other = { ...request, _id: 'q-2', state: 'used' as const, used_for: 'r-2' }
  const open = { ...request, _id: 'q-3', state: 'open' as const, used_for: null, used_at: null }
  await keystore.requests(store).insertMany([used, other, open])
  expect(await usedApprovals(store, null, 'r-1')).toEqual([
    {
      request: 'q-1',
      requestedBy: 'ann@vm-a',
      requestedAt: at.toISOString(),
      usedAt: at.toISOString(),
      digest: createHash('sha256').update(approvalText('', used)).digest('hex'),
      approvedBy: [{ name: 'bob', at: at.toISOString() }],
    },
  ])
  expect(await usedApprovals(store, null, 'r-none')).toEqual([])
})
