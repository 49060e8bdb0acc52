import type { Follower } from '../../client/follow.ts'
import { errorColours } from './colours.ts'
import { untilInterrupted } from './detach.ts'
import { note } from './output.ts'
import { openProgress } from './progress.ts'

/**
 * Shows the progress of a rotation that `run` follows; Ctrl-C detaches. `shared` are flags that count only when a rotation is
 * started: attaching to a running one ignores them with a warning.
 */
export async function withFollower<T>(
  shared: string[],
  run: (follower: Follower) => Promise<T>,
): Promise<T> {
  const view = openProgress()
  const { yellow } = errorColours()
  const use = async (signal: AbortSignal) => {
    const detached = () => view.print('detached: the rotation continues; keyturn status shows it')
    signal.addEventListener('abort', detached, { once: true })
    return run({
      signal,
      onAttach: ({ rotation, from, to }) => {
        note(`attached to rotation ${rotation}, v${from} to v${to}`)
        for (const flag of shared) note(`${yellow('warning:')} ${flag} is ignored, it runs already`)
      },
      onProgress: (progress) => view.show(progress),
      onNote: (line) => view.print(line),
    })
  }
  try {
    return await untilInterrupted(use)
  } finally {
    view.end()
  }
}
