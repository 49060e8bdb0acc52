import { DefaultLogger, Runtime } from '@temporalio/worker'

/** For steps that tests run in a `MockActivityEnvironment`: their refusals are expected. */
export const quietLogger = new DefaultLogger('ERROR')

/**
 * For tests that run the SDK's workers in their own process: the runtime prints only errors, since warnings that a test
 * provokes are expected. Install it before any other use of the SDK; it is installed once in a process, which several files
 * may share.
 */
export function quietRuntime(): void {
  if (Runtime._instance === undefined) {
    Runtime.install({ logger: quietLogger })
  }
}
