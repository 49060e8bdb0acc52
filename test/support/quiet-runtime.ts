import { DefaultLogger, Runtime } from '@temporalio/worker'

/**
 * For tests that run the SDK's workers in their own process: of its runtime only errors are printed, since what a test
 * provokes is no news. Installed once in a process, which several files may share; before anything else of the SDK.
 */
export function quietRuntime(): void {
  if (Runtime._instance === undefined) {
    Runtime.install({ logger: new DefaultLogger('ERROR') })
  }
}
