import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { KeyturnError } from '../../contracts/errors.ts'
import { spawnSupervised } from '../supervised-child.ts'
import type { Stack } from '../stack.ts'
import { waitUntil } from '../wait-until.ts'
import type { ApplicationReport } from './application.ts'

export interface Application {
  readonly pid: number
  /** Ends it cleanly and returns its report. */
  finish(): Promise<ApplicationReport>
}

const startMs = 60_000
const finishMs = 30_000

/** Starts the application on a node of its own and waits until its keyring is open. */
export async function startApplication(stack: Stack, node: string): Promise<Application> {
  const child = spawnSupervised({
    command: process.execPath,
    args: [program(), stack.configPath, node],
    env: stack.env,
  })
  let stdout = ''
  let stderr = ''
  child.child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const closed = new Promise((resolve) => child.child.once('close', resolve))
  const failed = () =>
    new KeyturnError('internal', `the application ended: ${stderr.trim().slice(-500)}`)
  await waitUntil(
    'the application does not come up',
    () => {
      if (child.hasEnded()) throw failed()
      return stdout.includes('application is up')
    },
    { withinMs: startMs },
  )
  return {
    pid: child.pid,
    finish: async () => {
      if (child.hasEnded()) throw failed()
      const { code } = await child.stop(finishMs)
      await closed
      const last = stdout.trim().split('\n').at(-1) ?? ''
      if (code !== 0 || !last.startsWith('{')) throw failed()
      return JSON.parse(last) as ApplicationReport
    },
  }
}

function program(): string {
  const candidates = ['./application.js', '../../dist/devstack/demo/application.js']
  const found = candidates
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(path))
  if (found !== undefined) return found
  throw new KeyturnError('server-missing', 'the application is not built', {
    hint: 'npm run build',
  })
}
