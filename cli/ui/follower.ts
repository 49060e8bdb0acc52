import type { Follower } from '../../client/follow.ts'
import { errorColours } from './colours.ts'
import { untilInterrupted } from './detach.ts'
import { note } from './output.ts'
import { openProgress } from './progress.ts'

/**
 * Shows a rotation that `run` follows; Ctrl-C lets go of it and says so. `shared` are flags that count only for a
 * rotation that is started here: attaching to one that runs ignores them, aloud.
 */
export async function withFollower<T>(
  shared: string[],
  run: (follower: Follower) => Promise<T>,
): Promise<T> {
  const view = openProgress()
  const { yellow } = errorColours()
  const use = async (signal: AbortSignal) => {
    const detached = () => view.say('detached: the rotation goes on; keyturn status shows it')
    signal.addEventListener('abort', detached, { once: true })
    return run({
      signal,
      onAttach: ({ rotation, from, to }) => {
        note(`attached to rotation ${rotation}, v${from} to v${to}`)
        for (const flag of shared) note(`${yellow('warning:')} ${flag} is ignored, it runs already`)
      },
      onProgress: (progress) => view.show(progress),
      onNote: (line) => view.say(line),
    })
  }
  try {
    return await untilInterrupted(use)
  } finally {
    view.end()
  }
}
