import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemPackages } from '../../devstack/servers/system-packages.ts'

/** The wall clock of processes that are started with `env`; the monotonic clock stays the machine's. */
export interface FakeClock {
  readonly env: NodeJS.ProcessEnv
  /** Sets it this far ahead of the machine's, at once, also under a running process. Negative: behind. */
  setAhead(seconds: number): void
}

/** libfaketime, installed with apt where that needs no password; null and a line on stderr where it is missing. */
export async function findFakeTime(): Promise<string | null> {
  const found = library()
  if (found !== null) return found
  const install = await systemPackages()
  if (install !== null) await install(['faketime'])
  const installed = library()
  if (installed === null) {
    console.error('libfaketime is missing, its tests are skipped; Debian: apt-get install faketime')
  }
  return installed
}

/** Its offset is in `file`, which the library reads at each call. */
export function fakeClock(path: string, file: string): FakeClock {
  const setAhead = (seconds: number) =>
    writeFileSync(file, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`)
  setAhead(0)
  return {
    env: {
      LD_PRELOAD: path,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    setAhead,
  }
}

function library(): string | null {
  const folders = readdirSync('/usr/lib').map((name) => join('/usr/lib', name, 'faketime'))
  const files = folders.map((folder) => join(folder, 'libfaketime.so.1'))
  return files.find((file) => existsSync(file)) ?? null
}
