import { readFileSync } from 'node:fs'
import { KeyturnError } from '../contracts/errors.ts'

/**
 * Node opens some hundred modules at once, and a module that it cannot open for lack of a descriptor is reported as missing.
 * A worker has about fifty files, sockets and pipes open, and more under load. Systems give 1,024 and more.
 */
const needed = 256

/** Why this process cannot run: the operating system lets it open too few files. Null where it is enough, or unknown. */
export function tooFewFiles(limitsFile = '/proc/self/limits'): KeyturnError | null {
  const limit = openFilesLimit(limitsFile)
  if (limit === null || limit >= needed) return null
  return new KeyturnError(
    'system-refused',
    `this process may open "${limit}" files only, and needs ${needed}`,
    { hint: 'raise the limit of open files (ulimit -n, LimitNOFILE= of systemd)' },
  )
}

/** Node raises the soft limit to the hard one when it starts (proc_pid_limits(5)). */
function openFilesLimit(file: string): number | null {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync(file, 'latin1'))?.[1]
    return soft === undefined ? null : Number(soft)
  } catch {
    return null
  }
}
