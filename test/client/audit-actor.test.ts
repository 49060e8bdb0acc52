import { describe, expect, test } from 'vitest'
import { actorOf } from '../../client/audit/read.ts'

describe('the actor of an entry', () => {
  test.each([
    ['ann@ops-1', { user: 'ann', host: 'ops-1' }],
    ['ann@corp@ops-1', { user: 'ann@corp', host: 'ops-1' }],
    ['policy', { user: 'policy', host: null }],
    ['', { user: '', host: null }],
  ])("of '%s' has a user and a host, and is marked as claimed", (actor, named) => {
    expect(actorOf(actor, {})).toEqual({ ...named, claimed: true })
    expect(actorOf(actor, { claimed: true, worker: 'vm-a' })).toEqual({ ...named, claimed: true })
    expect(actorOf(actor, { claimed: false })).toEqual({ ...named, claimed: false })
  })
})
