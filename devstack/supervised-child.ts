import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

/**
 * Supervised children end when this process ends, however it ends.
 *
 * A handler for exit or signals is not enough, since a SIGKILL runs no handler. So each child holds the reading end of a
 * pipe (descriptor 3) whose only writing end is in this process (Node opens it close-on-exec). When this process dies, the
 * kernel closes the pipe, and a waiting subshell of the child's own session reads end-of-file and ends the whole session:
 * first SIGTERM, five seconds later SIGKILL. The session is the child's own (setsid), so that Ctrl-C in the terminal reaches
 * only this process, which then stops its children in order. The command itself is exec'd: its pid is the child's pid.
 * (`kill -s TERM -- -N` is the one spelling of a group that dash, bash and busybox all take.)
 */
const supervisor = `(
  trap '' TERM INT HUP
  read -r _ <&3
  kill -s TERM -- -$$
  i=0
  while kill -0 $$ && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
  kill -s KILL -- -$$
) </dev/null >/dev/null 2>&1 &
exec "$@" 3<&-`

export interface SupervisedOptions {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** stdout and stderr go here; without it they are pipes of `child`. */
  readonly logFile?: string
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface SupervisedChild {
  readonly child: ChildProcess
  readonly pid: number
  /** Resolves when it has ended and its session is empty. */
  readonly ended: Promise<Ended>
  hasEnded(): boolean
  /** To the command alone. */
  signal(signal: NodeJS.Signals): void
  /** SIGKILL to the command and everything it started, like a host that loses power. Resolves when it is gone. */
  kill(): Promise<Ended>
  /** SIGTERM, and after `graceMs` SIGKILL. Resolves when it is gone. */
  stop(graceMs?: number): Promise<Ended>
}

/** Starts a supervised child. Throws when it cannot be started; a command that does not exist ends the child with an exit code. */
export function spawnSupervised(options: SupervisedOptions): SupervisedChild {
  const output = options.logFile === undefined ? 'pipe' : openSync(options.logFile, 'a')
  const child = spawn(
    '/bin/sh',
    ['-c', supervisor, 'supervisor', options.command, ...options.args],
    {
      detached: true,
      stdio: ['ignore', output, output, 'pipe'],
      env: options.env ?? process.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    },
  )
  if (typeof output === 'number') closeSync(output)
  // The pipe breaks when the child dies; that is no error.
  child.stdio[3]?.on('error', () => undefined)
  const pid = child.pid
  if (pid === undefined) throw new Error(`could not start "${options.command}"`)
  return supervised(child, pid)
}

function supervised(child: ChildProcess, pid: number): SupervisedChild {
  let over = false
  const ended = new Promise<Ended>((resolve) => {
    child.once('exit', (code, signal) => {
      over = true
      // Kills the waiting subshell and whatever the command left behind. The subshell is still a member of the session, so the
      // kernel cannot have reused the number.
      signalGroup(pid, 'SIGKILL')
      child.stdio[3]?.destroy()
      resolve({ code, signal })
    })
  })
  return {
    child,
    pid,
    ended,
    hasEnded: () => over,
    signal: (signal) => {
      if (!over) child.kill(signal)
    },
    kill: async () => {
      if (!over) signalGroup(pid, 'SIGKILL')
      return ended
    },
    stop: async (graceMs = 10_000) => {
      if (over) return ended
      child.kill('SIGTERM')
      const timer = setTimeout(() => {
        signalGroup(pid, 'SIGKILL')
      }, graceMs)
      return ended.finally(() => {
        clearTimeout(timer)
      })
    },
  }
}

/** Sends the signal to every process of the child's session; an empty session is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
