import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** CKA_LABEL of every throwaway key; at most 32 characters, since some tokens cut longer labels. */
export const PROBE_LABEL = 'keyturn-probe'

/** No probe takes so long: an older key is abandoned, on any host. */
const LONGEST_PROBE_MS = 3_600_000
/** Tolerance for clock differences, and for the time in an id, which has whole seconds. */
const CLOCKS_DIFFER_MS = 2_000

/**
 * CKA_ID of a throwaway key: 16 bytes that identify its maker, so that a key of a killed probe can be recognized. Mark (4),
 * host (4), time in seconds (4), process (3), count (1), big-endian.
 */
const MARK = Buffer.from('ktnp')
const ID_BYTES = 16
let count = 0

/** The state of another probe's key: `abandoned` may be destroyed, `in-use` belongs to a running probe. */
export type Claim = 'abandoned' | 'in-use' | 'perhaps-in-use' | 'not-ours'

export function freshProbeId(now: number = Date.now()): Buffer {
  const id = Buffer.alloc(ID_BYTES)
  MARK.copy(id)
  host().copy(id, 4)
  id.writeUInt32BE(Math.floor(now / 1000), 8)
  id.writeUIntBE(process.pid, 12, 3)
  id.writeUInt8(count++ % 256, 15)
  return id
}

/** The state of a key with the probe's label and this id. */
export function claimOn(id: Buffer, now: number = Date.now()): Claim {
  if (id.length !== ID_BYTES || !id.subarray(0, 4).equals(MARK)) return 'not-ours'
  const madeAt = id.readUInt32BE(8) * 1000
  if (now - madeAt > LONGEST_PROBE_MS) return 'abandoned'
  if (!id.subarray(4, 8).equals(host())) return 'perhaps-in-use'
  return isMaker(id.readUIntBE(12, 3), madeAt) ? 'in-use' : 'abandoned'
}

/** Whether the process that made the key is alive. After a restart of a container, this process may have its number. */
function isMaker(pid: number, madeAt: number): boolean {
  if (pid === process.pid) return madeAt > performance.timeOrigin - CLOCKS_DIFFER_MS
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Identifies the scope of process numbers: this boot of this machine, and this container. */
function host(): Buffer {
  let name: string
  try {
    name =
      readFileSync('/proc/sys/kernel/random/boot_id', 'utf8') + readlinkSync('/proc/self/ns/pid')
  } catch {
    name = hostname()
  }
  return createHash('sha256').update(name).digest().subarray(0, 4)
}
