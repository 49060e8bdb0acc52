import type { Fleet } from './fleet.ts'

/** The node of two, vm-a and vm-b, whose process sweeps most ranges, by its log: by chance one can have all or none. */
export async function sweepingNode(fleet: Fleet): Promise<string> {
  const sweeps = async (node: string) => {
    const log = await fleet.nodes.log(node)
    // A killed process before this one has started activities that it never ended.
    const said = log.slice(log.lastIndexOf('worker is up'))
    const count = (what: RegExp) => said.match(what)?.length ?? 0
    return (
      count(/"activityType":"rewrapBatch".*"Activity started"/g) -
      count(/"activityType":"rewrapBatch".*"Activity (completed|cancelled|failed)/g)
    )
  }
  return await fleet.until('no worker sweeps', async () => {
    const [a, b] = await Promise.all([sweeps('vm-a'), sweeps('vm-b')])
    if (a + b === 0) return null
    return a >= b ? 'vm-a' : 'vm-b'
  })
}
