import { appendFile } from 'node:fs/promises'
import { readSigningKey } from '../config/signing-key.ts'
import { reasonOf } from '../contracts/reasons.ts'
import type { SignedHead } from '../contracts/audit.ts'
import type { InstallIdentity } from '../contracts/names.ts'
import type { AuditConfig } from '../contracts/settings.ts'
import type { Log } from '../observability/log.ts'
import { readHead, signedHead } from '../store/audit-head.ts'
import { recordAudit } from '../store/audit-outbox.ts'
import { hasNewActs } from '../store/kek-audit.ts'
import type { Store } from '../store/store.ts'

/** How long `audit.anchor_url` may take to answer, in milliseconds. */
const answerMs = 10_000

export interface Anchoring {
  readonly store: Store
  readonly audit: AuditConfig
  readonly node: string
  readonly log: Log
}

/**
 * Keeps heads of the audit's chain outside the database: with each new act in the chain, the log gets its head, and so do
 * this host's `audit.anchor_file` and `audit.anchor_url`. What fails is a warning, and is tried again with the next heartbeat; no act
 * waits for it.
 */
export class AuditAnchors {
  readonly #options: Anchoring
  /** Number of the last entry whose head is kept, for each place. */
  readonly #kept = new Map<string, number>()
  readonly #closing = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #isRunning = false
  #logged: string | null = null

  constructor(options: Anchoring) {
    this.#options = options
  }

  /** Begins to keep the head of now, unless the last try is still running. */
  keep(install: InstallIdentity): void {
    if (this.#isRunning || this.#closing.signal.aborted) return
    this.#isRunning = true
    this.#running = this.#keep(install)
      .then(
        () => (this.#logged = null),
        (error: unknown) => this.#warn(reasonOf(error)),
      )
      .then(() => {
        this.#isRunning = false
      })
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  async #keep({ id }: InstallIdentity): Promise<void> {
    const { store, audit } = this.#options
    const places = Object.entries(this.#places())
    const since = Math.min(...places.map(([place]) => this.#kept.get(place) ?? 0))
    if (!(await hasNewActs(store, since))) return
    const key = audit.signingKey === undefined ? null : readSigningKey(audit.signingKey)
    const head = signedHead(await readHead(store, id), key)
    const failures: string[] = []
    for (const [place, put] of places) {
      if ((this.#kept.get(place) ?? 0) >= head.entries) continue
      try {
        await put(head)
        this.#kept.set(place, head.entries)
        if (place !== 'log') await this.#record(place, head)
      } catch (error) {
        failures.push(`audit.anchor_${place}: ${reasonOf(error)}`)
      }
    }
    if (failures.length > 0) throw new Error(failures.join('; '))
  }

  #places(): Record<string, (head: SignedHead) => Promise<void>> {
    const { audit, log } = this.#options
    const { anchorFile: file, anchorUrl: url } = audit
    return {
      log: ({ entries, head, signature }) => {
        log.info({ entries, head, signature }, 'head of the audit')
        return Promise.resolve()
      },
      ...(file === undefined
        ? {}
        : {
            file: (head: SignedHead) =>
              appendFile(file, `${JSON.stringify(head)}\n`, { flush: true }),
          }),
      ...(url === undefined ? {} : { url: (head: SignedHead) => this.#post(url, head) }),
    }
  }

  async #post(url: string, head: SignedHead): Promise<void> {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(head),
      redirect: 'error',
      signal: AbortSignal.any([AbortSignal.timeout(answerMs), this.#closing.signal]),
    })
    await response.body?.cancel()
    if (!response.ok) throw new Error(`it answers with ${response.status}`)
  }

  async #record(place: string, { entries, head, signature }: SignedHead): Promise<void> {
    const { store, node } = this.#options
    await recordAudit(store, {
      actor: node,
      action: 'head-anchored',
      subject: place,
      details: { entries, head, signature, claimed: false, worker: node },
    })
  }

  #warn(why: string): void {
    if (why === this.#logged || this.#closing.signal.aborted) return
    this.#logged = why
    this.#options.log.warn(`the head of the audit is not kept: ${why}`)
  }
}
