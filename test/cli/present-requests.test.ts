import { expect, test } from 'vitest'
import { requestText, requestsText } from '../../cli/ui/present-requests.ts'
import type { ApprovalRequestView } from '../../contracts/approvals.ts'

const request: ApprovalRequestView = {
  id: 'q-2026-11-26-abcdefghjk',
  action: 'remove',
  subject: 'v1',
  options: { census: 0, changes: ['a\u202eb', 'plain'] },
  text: '{"census":0,"requestedBy":"bob\u009b2J"}',
  digest: 'ab',
  required: 2,
  approvedBy: ['alice'],
  requestedBy: 'bob\u001b[8m\nstate: used',
  requestedAt: '2026-11-26T10:00:00.000Z',
  expiresAt: '2026-11-27T10:00:00.000Z',
  state: 'open',
}

test('a request is shown without characters that a terminal obeys or hides', () => {
  for (const text of [requestText(request), requestsText([request])]) {
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
    expect(text).toContain('bob\\u{1b}[8m\\u{a}state: used')
  }
  const shown = requestText(request)
  expect(shown).toContain('a\\u{202e}b')
  expect(shown).toContain('bob\\u{9b}2J')
})
