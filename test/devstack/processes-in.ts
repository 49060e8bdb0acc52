import { execFileSync } from 'node:child_process'

/** Command lines of the processes that name this folder: servers and workers of a stack, and their supervisors. */
export function livingIn(folder: string): string[] {
  return execFileSync('ps', ['-eo', 'stat=,args=', '-ww'], { encoding: 'utf8' })
    .split('\n')
    .filter(
      (line) => line.includes(folder) && !line.startsWith('Z') && !line.includes('startStack'),
    )
}
