import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

/** Where stacks keep their state when no folder is named: below the current folder, ignored by git. */
const home = '.keyturn'
const kept = 'kept'

/**
 * A fresh state folder `.keyturn/<kind>-<pid>-…`. Folders of the same kind whose process was killed before it could
 * remove them go first.
 */
export async function freshFolder(kind: string): Promise<string> {
  const base = resolve(home)
  await mkdir(base, { recursive: true })
  for (const name of await readdir(base)) {
    const pid = new RegExp(`^${kind}-(\\d+)-`).exec(name)?.[1]
    if (pid === undefined || lives(Number(pid))) continue
    if ((await readdir(join(base, name))).includes(kept)) continue
    await rm(join(base, name), { recursive: true, force: true })
  }
  return mkdtemp(join(base, `${kind}-${process.pid.toString()}-`))
}

/** Marks a folder, so that `freshFolder` does not remove it. */
export async function keepFolder(folder: string): Promise<void> {
  await writeFile(join(folder, kept), '')
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
