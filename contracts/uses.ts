import type { ProcessRole } from './fleet.ts'

/** Where an envelope is: a configured collection and field. */
export interface VersionPlace {
  collection: string
  field: string
}

/** The uses of a version by one process at one place, as `status` and `remove` show them. */
export interface UseView extends VersionPlace {
  node: string
  pid: number
  role: ProcessRole
  count: number
  lastAt: string
}
