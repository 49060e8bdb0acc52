import { expect, test } from 'vitest'
import type { FleetNode, ReadinessNode } from '../../contracts/fleet.ts'
import { fleetText, linesAtMost } from '../../cli/ui/present-fleet.ts'
import { readinessText } from '../../cli/ui/present-readiness.ts'

const name = (at: number) => `vm-${at.toString().padStart(3, '0')}`

const node = (at: number, current: number, live = true): FleetNode => ({
  node: name(at),
  kind: 'host',
  live,
  decommissioned: false,
  processes: [
    { role: 'app', pid: at, current, epoch: current, loaded: [1, 2], heartbeatAgeSeconds: at % 30 },
  ],
})

const fleet = Array.from({ length: 300 }, (_, at) => node(at, at < 4 ? 1 : 2))

/** The cells of a table, without its frame and its gaps. */
const lines = (text: string) => text.split('\n').map((line) => line.trim().split(/ {2,}/))

test('a large fleet is shown in groups, with exceptions first', () => {
  const mute: FleetNode = { ...node(300, 2, false), processes: [] }
  const [head, ...groups] = lines(fleetText([...fleet, mute]))
  expect(head?.[0]).toBe('nodes')
  const told = groups.map((cells) => cells.join(' ')).filter((line) => /^\d/.test(line))
  expect(told).toHaveLength(3)
  expect(told[0]).toMatch(/^1 0 host silent .*vm-300$/)
  expect(told[1]).toMatch(/^4 4 host live app v1 v1 v2 3 s vm-000 vm-001 vm-002 …$/)
  expect(told[2]).toMatch(/^296 296 host live app v2 v1 v2 29 s vm-004 vm-005 vm-006 …$/)
})

test('a small fleet has a line for each process', () => {
  expect(lines(fleetText(fleet.slice(0, linesAtMost))).flat()).toContain(name(linesAtMost - 1))
  expect(lines(fleetText(fleet.slice(0, linesAtMost + 1))).flat()).not.toContain(name(linesAtMost))
})

test('verify of a large fleet names only the processes that are not ready, each with a hint', () => {
  const nodes = fleet.map(({ node }, at): ReadinessNode => ({
    node,
    role: 'app',
    pid: at,
    ready: at !== 7,
    provenAt: null,
    reason: at === 7 ? 'material-missing' : null,
  }))
  const text = readinessText({ target: 2, ready: false, nodes, crossChecked: true })
  expect(text.match(/vm-\d+/g)).toEqual(['vm-007'])
  expect(text).toContain('299 processes are ready')
  expect(text).toMatch(/material-missing: .*set the variable/)
})
