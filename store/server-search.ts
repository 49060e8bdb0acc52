import type { MongoServerSelectionError, ServerDescription } from 'mongodb'
import { reasonOf } from '../contracts/reasons.ts'

/** Servers listed in a message. */
const mostListed = 3

const roles: Readonly<Record<string, string>> = {
  RSSecondary: 'is a secondary',
  RSArbiter: 'is an arbiter',
  RSOther: 'is starting or recovering',
  RSGhost: 'has no replica set configuration: rs.initiate() was not run',
  Standalone: 'is a standalone server',
  RSPrimary: 'is the primary',
  Mongos: 'is a router',
}

/** Why the driver found no usable server, from its state of each. The driver itself reports only the last error, or none. */
export function describeSearch(error: MongoServerSelectionError): string {
  const { reason: topology } = error
  if (topology === undefined) return reasonOf(error)
  if (topology.compatibilityError) return reasonOf(new Error(topology.compatibilityError))
  const servers = [...topology.servers.values()]
  const set = topology.setName === null ? '' : ` "${topology.setName}"`
  if (servers.length === 0) {
    return set === '' ? reasonOf(error) : `none of its servers is in the replica set${set}`
  }
  // A server of another set is taken off the list, except when it is asked directly.
  const unknown =
    topology.type === 'Single' && set !== '' ? `is not in the replica set${set}` : 'does not answer'
  const isWithoutPrimary = topology.type === 'ReplicaSetNoPrimary' && servers.some(isMember)
  const listed = servers.slice(0, mostListed).map((server) => describeServer(server, unknown))
  const more = servers.length > mostListed ? [`${servers.length - mostListed} more`] : []
  const all = [...listed, ...more].join('; ')
  return isWithoutPrimary ? `the replica set${set} has no primary: ${all}` : all
}

function isMember({ type }: ServerDescription): boolean {
  return type.startsWith('RS')
}

function describeServer({ address, type, error }: ServerDescription, unknown: string): string {
  if (error !== null) return `"${address}": ${reasonOf(error)}`
  return `"${address}" ${roles[type] ?? unknown}`
}
