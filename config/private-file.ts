import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  realpathSync,
  statSync,
} from 'node:fs'
import path from 'node:path'
import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'

/** A file that only this process's user may read: a PIN, a signing key. */
export interface PrivateFile {
  readonly file: string
  /** What messages call it: `PIN file`. */
  readonly noun: string
  /** Codes when it cannot be read, and when others may read it. */
  readonly missing: ErrorCode
  readonly unsafe: ErrorCode
}

/** Opens the file first and checks the descriptor: so a link's target is checked, and it cannot be swapped in between. */
export function readPrivate(wanted: PrivateFile): Buffer {
  const { file, noun, missing } = wanted
  let descriptor: number
  try {
    // Without O_NONBLOCK, opening a pipe waits for its writer.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new KeyturnError(missing, `cannot read ${noun} "${file}": ${code ?? 'failed'}`, {
      hint: 'create it with mode 0400 for the user that runs keyturn',
      cause,
    })
  }
  try {
    checkPrivate(wanted, descriptor)
    return readFileSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function checkPrivate({ file, noun, unsafe: code }: PrivateFile, descriptor: number): void {
  const { mode, uid, gid, isFile } = statOf(descriptor)
  const unsafe = (what: string, hint: string) =>
    new KeyturnError(code, `${noun} "${file}" ${what}`, { hint })
  if (isFile && uid === 0 && (mode === 0o440 || mode === 0o640)) {
    const why = whyNotHandedOver(file, gid)
    if (why !== null) throw unsafe(why.what, why.hint)
    return
  }
  if (!isFile) throw unsafe('is not a regular file', 'name the file itself')
  if (mode !== 0o600 && mode !== 0o400) {
    throw unsafe(
      `has mode "${mode.toString(8).padStart(4, '0')}", not 0600 or 0400`,
      `run: chmod 0400 ${file}`,
    )
  }
  const self = process.geteuid?.()
  if (self !== undefined && uid !== self && uid !== 0) {
    throw unsafe(
      `belongs to another user (uid "${uid}")`,
      `run: chown ${self} ${file}, as the user that runs keyturn`,
    )
  }
}

/**
 * A root-owned, group-readable file is accepted as systemd's LoadCredential and a Kubernetes fsGroup provide it: the group
 * must be root's or one of this process's groups, and a parent folder must be closed to others.
 */
function whyNotHandedOver(file: string, gid: number): { what: string; hint: string } | null {
  const own = [process.getegid?.(), ...(process.getgroups?.() ?? [])]
  if (gid !== 0 && !own.includes(gid)) {
    return {
      what: `can be read by a group (gid "${gid}") that this process is not in`,
      hint: 'run keyturn in that group (systemd: SupplementaryGroups=, Kubernetes: fsGroup), or change the group of the file',
    }
  }
  if (isBehindClosedFolder(realpathSync(file))) return null
  return {
    what: 'can be read by its group, in folders that all users can enter',
    hint: `run: chmod o-x ${path.dirname(file)}`,
  }
}

function isBehindClosedFolder(file: string): boolean {
  const folder = path.dirname(file)
  if (folder === file) return false
  const { mode, uid } = statSync(folder)
  const isOurs = uid === 0 || uid === process.geteuid?.()
  return (isOurs && (mode & 0o001) === 0) || isBehindClosedFolder(folder)
}

function statOf(descriptor: number): { mode: number; uid: number; gid: number; isFile: boolean } {
  const stats = fstatSync(descriptor)
  return { mode: stats.mode & 0o777, uid: stats.uid, gid: stats.gid, isFile: stats.isFile() }
}
