import { readRanges } from '../../store/rewrap-ranges.ts'
import { runningRotation } from '../../store/rotations.ts'
import type { Fleet } from './fleet.ts'

/**
 * The node of two, vm-a and vm-b, whose process sweeps most of the open ranges: the last to have started each, by the logs.
 * By chance one node can have all or none.
 */
export async function sweepingNode(fleet: Fleet): Promise<string> {
  return await fleet.until('no worker sweeps an open range', async () => {
    const row = await runningRotation(fleet.store)
    const ranges = row === null ? [] : await readRanges(fleet.store, row._id)
    const logs = new Map<string, string>()
    for (const node of ['vm-a', 'vm-b']) logs.set(node, await fleet.nodes.log(node))
    const swept = { 'vm-a': 0, 'vm-b': 0 }
    for (const { _id, field, closed, attempt } of ranges) {
      if (closed || attempt === 0) continue
      const workflow = `/rotate/${field}/${_id.shard}"`
      const [a, b] = ['vm-a', 'vm-b'].map((node) => lastStart(logs.get(node) ?? '', workflow))
      if (a === b) continue
      swept[(a ?? '') > (b ?? '') ? 'vm-a' : 'vm-b'] += 1
    }
    if (swept['vm-a'] + swept['vm-b'] === 0) return null
    return swept['vm-a'] >= swept['vm-b'] ? 'vm-a' : 'vm-b'
  })
}

/** When the range's activity last started there, ISO 8601; an empty string if never. */
function lastStart(log: string, workflow: string): string {
  const line = log
    .split('\n')
    .findLast(
      (text) =>
        text.includes(workflow) &&
        text.includes('"activityType":"rewrapBatch"') &&
        text.includes('"Activity started"'),
    )
  return line === undefined ? '' : (JSON.parse(line) as { time: string }).time
}
