import { expect, test } from 'vitest'
import { processStates } from '../../protocol/process-states.ts'
import { heartbeat, host } from './fleet-facts.ts'

const roster = [
  host('vm-a'),
  host('vm-gone', { seenMsAgo: 90_000 }),
  host('vm-left', { decommissioned: true }),
  host('job', { kind: 'ephemeral' }),
]

test('processes have one of four states, those that need attention first', () => {
  const beats = [
    heartbeat('vm-a/1'),
    heartbeat('vm-b/1', { loaded: [] }),
    heartbeat('vm-c/1', { ageMs: 1_000_000 }),
    heartbeat('vm-d/1', { malformed: { what: 'pid', print: '' } }),
  ]
  const states = processStates(roster, beats, 1)
  expect(states.map(({ node, state }) => [node, state])).toEqual([
    ['vm-gone', 'missing'],
    ['vm-c', 'silent'],
    ['vm-d', 'silent'],
    ['vm-b', 'degraded'],
    ['vm-a', 'live'],
  ])
  expect(states[0]).toMatchObject({ role: null, pid: null, heartbeatAgeSeconds: 90 })
})
