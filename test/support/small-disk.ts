import { execFile } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A file system of its own, in memory, that a test fills. */
export interface SmallDisk {
  readonly folder: string
  /** Fills it to the last byte. */
  fill(): void
  /** Removes what `fill` wrote. */
  free(): Promise<void>
  close(): Promise<void>
}

/** Why no file system can be mounted here; null if one can. Says it once on stderr. */
export async function whyNoSmallDisk(): Promise<string | null> {
  try {
    await (await smallDisk(1)).close()
    return null
  } catch (error) {
    const why = `a tmpfs cannot be mounted, tests of full disks are skipped: ${String(error).split('\n')[0]}; run them as root`
    console.error(why)
    return why
  }
}

/** Mounts a tmpfs. Throws without the right to. */
export async function smallDisk(mebibytes: number): Promise<SmallDisk> {
  await mkdir('.keyturn', { recursive: true })
  const folder = await mkdtemp(join(process.cwd(), '.keyturn', 'disk-'))
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'keyturn-test', folder])
  } catch (error) {
    await rm(folder, { recursive: true })
    throw error
  }
  const filler = join(folder, 'filler')
  return {
    folder,
    fill: () => fillWith(filler),
    free: () => rm(filler, { force: true }),
    async close() {
      // Lazily: a log file that is still open does not keep it.
      await run('umount', ['--lazy', folder])
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function fillWith(file: string): void {
  const descriptor = openSync(file, 'a')
  try {
    for (let size = 2 ** 20; size >= 1; size = Math.floor(size / 2)) {
      const bytes = Buffer.alloc(size)
      while (tryWrite(descriptor, bytes)) continue
    }
  } finally {
    closeSync(descriptor)
  }
}

function tryWrite(descriptor: number, bytes: Buffer): boolean {
  try {
    return writeSync(descriptor, bytes) === bytes.length
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false
    throw error
  }
}
