import { expect, test } from 'vitest'
import { workerIdentity } from '../../contracts/names.ts'
import { controlWorkers, takesOver, type ListedPoller } from '../../protocol/builds.ts'

const nowMs = 1_000_000_000

function poller(identity: string, build: string, secondsAgo = 0): ListedPoller {
  const seconds = nowMs / 1_000 - secondsAgo
  return { identity, lastAccessTime: { seconds }, deploymentOptions: { buildId: build } }
}

test('a worker with keys is alive only while its heartbeat is, even if Temporal still lists it', () => {
  const listed = [
    poller(workerIdentity('vm-a', 7, true), 'old'),
    poller(workerIdentity('dir/vm-b', 8, true), 'new', 59),
    poller(workerIdentity('vm-c', 9, true), 'gone', 200),
    poller('somebody@else', 'x'),
  ]
  const live = [
    { node: 'dir/vm-b', pid: 8 },
    { node: 'vm-c', pid: 9 },
  ]
  expect(controlWorkers(listed, live, nowMs)).toEqual([{ node: 'dir/vm-b', pid: 8, build: 'new' }])
})

test('a worker without keys is alive while it polls', () => {
  const listed = [
    poller(workerIdentity('vm-a', 7, false), 'old', 200),
    poller(workerIdentity('vm-b', 8, false), 'new', 70),
  ]
  expect(controlWorkers(listed, [], nowMs)).toEqual([{ node: 'vm-b', pid: 8, build: 'new' }])
})

test('a worker is alive while it polls when MongoDB confirms no heartbeat', () => {
  const listed = [
    poller(workerIdentity('vm-a', 7, true), 'old', 200),
    poller(workerIdentity('vm-b', 8, true), 'new', 70),
  ]
  expect(controlWorkers(listed, null, nowMs)).toEqual([{ node: 'vm-b', pid: 8, build: 'new' }])
})

test('a recreated container with the same name and pid runs the build that polled last', () => {
  const identity = workerIdentity('box', 1, true)
  const listed = [poller(identity, 'new', 1), poller(identity, 'old', 30)]
  const live = [{ node: 'box', pid: 1 }]
  expect(controlWorkers(listed, live, nowMs)).toEqual([{ node: 'box', pid: 1, build: 'new' }])
})

test('a build becomes current by itself only if no worker serves the current one', () => {
  const worker = (build: string) => ({ node: build, pid: 1, build })
  expect(takesOver('new', null, [])).toBe(false)
  expect(takesOver('new', null, [worker('new')])).toBe(true)
  expect(takesOver('new', 'new', [worker('new')])).toBe(false)
  expect(takesOver('new', 'old', [worker('new'), worker('old')])).toBe(false)
  expect(takesOver('new', 'old', [worker('new'), worker('other')])).toBe(true)
})
