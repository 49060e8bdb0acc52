import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { waitUntil } from '../../devstack/wait-until.ts'

const script = fileURLToPath(new URL('warm-cli-process.mjs', import.meta.url))
const mark = '\u0004'

export interface CommandOutput {
  code: number | null
  stdout: string
  stderr: string
}

/**
 * Runs the built command line in reusable processes: each command runs in an idle one, or in a new one. For the many short
 * commands of a fleet test; a command that is killed, signalled or measured gets its own process.
 */
export class WarmCli {
  readonly #env: NodeJS.ProcessEnv
  readonly #idle: WarmProcess[] = []
  readonly #all: WarmProcess[] = []

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env
  }

  async run(args: readonly string[]): Promise<CommandOutput> {
    const process = this.#idle.pop() ?? this.#start()
    const end = await process.run(args)
    if (!process.hasEnded()) this.#idle.push(process)
    return end
  }

  close(): void {
    for (const process of this.#all) process.kill()
  }

  #start(): WarmProcess {
    const started = new WarmProcess(this.#env)
    this.#all.push(started)
    return started
  }
}

class WarmProcess {
  readonly #child
  #stdout = ''
  #stderr = ''
  #ended: number | null | undefined

  constructor(env: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, [script], {
      env: { ...process.env, ...env, NO_COLOR: '1' },
    })
    this.#child.stdout.on('data', (chunk: Buffer) => (this.#stdout += chunk.toString()))
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#stderr += chunk.toString()))
    this.#child.once('close', (code) => (this.#ended = code))
  }

  async run(args: readonly string[]): Promise<CommandOutput> {
    this.#stdout = this.#stderr = ''
    this.#child.stdin.write(`${JSON.stringify({ args })}\n`)
    await waitUntil(
      `keyturn ${args.join(' ')} does not end`,
      () => this.hasEnded() || (this.#stdout.includes(mark) && this.#stderr.includes(mark)),
      { withinMs: 120_000, everyMs: 10 },
    )
    const [stdout = '', code] = this.#stdout.split(mark)
    const [stderr = ''] = this.#stderr.split(mark)
    return { code: code === undefined ? (this.#ended ?? null) : Number(code), stdout, stderr }
  }

  hasEnded(): boolean {
    return this.#ended !== undefined
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}
