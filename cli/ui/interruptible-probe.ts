import { KeyturnError } from '../../contracts/errors.ts'
import type { ProbeReport } from '../../contracts/kek.ts'
import { untilInterrupted } from './detach.ts'
import { note } from './output.ts'

/** Runs a probe; Ctrl-C ends it after its clean-up. Throws `cancelled`, or the error of a clean-up that failed. */
export async function probeInterruptibly(
  probe: (signal: AbortSignal) => Promise<ProbeReport>,
): Promise<ProbeReport> {
  return untilInterrupted(async (signal) => {
    signal.addEventListener('abort', () => note('interrupted: cleaning up'))
    try {
      return await probe(signal)
    } catch (error) {
      if (error !== signal.reason) throw error
      throw new KeyturnError('cancelled', 'the probe was interrupted, and left nothing behind')
    }
  })
}
