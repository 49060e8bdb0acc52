import { execa } from 'execa'
import type { Log } from '../observability/log.ts'
import { reasonOf } from '../contracts/reasons.ts'

/** How often the state is looked at, in ms. */
const lookEveryMs = 2_000
/** How long one message may take, in ms. */
const withinMs = 5_000

/**
 * Tells systemd that a worker is up, and what it does (`sd_notify`, for a unit of `Type=notify`). A degraded worker is up:
 * one that systemd starts again spends a try of the PIN each time. Node cannot send datagrams to a socket of the file
 * system, so systemd-notify(1) does. Does nothing without NOTIFY_SOCKET.
 */
export class ServiceManager {
  readonly #timer: NodeJS.Timeout
  readonly #log: Log
  /** The message that is sent. */
  #sending: Promise<void>
  #told: string

  /** `status`: one line for `systemctl status`. */
  static async begin(
    status: () => Promise<string>,
    { env, log }: { env: NodeJS.ProcessEnv; log: Log },
  ): Promise<ServiceManager | null> {
    if (env['NOTIFY_SOCKET'] === undefined) return null
    return new ServiceManager(await status(), status, log)
  }

  private constructor(first: string, status: () => Promise<string>, log: Log) {
    this.#log = log
    this.#told = first
    this.#sending = this.#send('--ready', `--status=${first}`)
    this.#timer = setInterval(() => void this.#look(status), lookEveryMs)
    this.#timer.unref()
  }

  /** Tells that the worker stops. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#sending
    await this.#send('STOPPING=1')
  }

  async #look(status: () => Promise<string>): Promise<void> {
    const now = await status()
    if (now === this.#told) return
    this.#told = now
    this.#sending = this.#sending.then(async () => await this.#send(`--status=${now}`))
  }

  async #send(...message: string[]): Promise<void> {
    try {
      await execa('systemd-notify', message, { timeout: withinMs })
    } catch (error) {
      this.#log.warn(`systemd was not told "${message.join(' ')}": ${reasonOf(error)}`)
    }
  }
}
