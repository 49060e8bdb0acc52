import { randomBytes } from 'node:crypto'
import pTimeout from 'p-timeout'
import { packageVersion } from '../config/package-version.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { defaultProveMs, type FleetTimings } from '../contracts/settings.ts'
import type { VersionPlace } from '../contracts/uses.ts'
import { isLoadable } from '../protocol/version-state.ts'
import { readForBeat } from '../store/beat-reading.ts'
import { leaveNode, seeNode } from '../store/fleet-nodes.ts'
import { judgeInstall } from '../store/kek-install.ts'
import { recordUses } from '../store/kek-uses.ts'
import { countWraps } from '../store/kek-versions.ts'
import { removeHeartbeat, writeHeartbeat, type Heartbeat } from '../store/process-heartbeats.ts'
import { asStoreError } from '../store/store-errors.ts'
import { FollowedVersion } from './followed-version.ts'
import type { FleetMember, MemberOptions, MemberState } from './membership.ts'
import { HeartbeatLoop } from './heartbeat-loop.ts'
import { HeldLease, leaseExpired } from './held-lease.ts'
import { KeystoreWatcher } from './keystore-watcher.ts'
import { LoadedKeys } from './loaded-keys.ts'
import { MemberEmitter, type MemberEventName, type MemberListener } from './member-events.ts'
import { NewestState } from './newest-state.ts'
import { ServerClock } from './server-clock.ts'
import { VersionUses } from './version-uses.ts'
import { WrapCounts } from './wrap-counts.ts'

const ownSoftware = `keyturn ${packageVersion()}, node ${process.versions.node}`

/** How long a caller waits for a beat while MongoDB does not answer, in ms. The driver's own limit is longer. */
const patienceMs = 5_000

/** Joins the roster and beats once. Throws node-decommissioned, install-locked, mongodb-unreachable. */
export async function joinFleet(options: MemberOptions): Promise<FleetMember> {
  const member = new Member(options)
  try {
    await member.beat()
  } catch (error) {
    await member.abandon()
    throw error
  }
  if (!member.state().installed)
    options.log.info('not installed yet: waiting for the first version')
  return member
}

/** See `FleetMember`: one process, one lease, one set of loaded keys, and the loop that keeps them fresh. */
class Member implements FleetMember {
  readonly node: string
  readonly boot = randomBytes(8).toString('hex')
  readonly settingsHash: Buffer
  readonly #options: MemberOptions
  readonly #keys: LoadedKeys
  readonly #followed: FollowedVersion
  readonly #lease = new HeldLease()
  readonly #wraps = new WrapCounts()
  readonly #uses: VersionUses
  readonly #emitter: MemberEmitter
  readonly #loop: HeartbeatLoop
  readonly #watcher: KeystoreWatcher
  #timings: FleetTimings
  #isInstalled = false
  readonly #state = new NewestState()
  /** False before the first look into the keystore, and after a failure. */
  #hasLooked = false
  readonly #clock = new ServerClock()
  #beatenMs = -Infinity

  constructor(options: MemberOptions) {
    this.node = options.node
    this.settingsHash = options.settingsHash
    this.#options = options
    this.#timings = options.timings
    this.#emitter = new MemberEmitter(options.log)
    this.#keys = new LoadedKeys({
      provider: options.provider,
      clock: () => this.#lease.now(),
      onFailure: (version, { code, message }) =>
        this.#emitter.emit('key-missing', { version, code, message }),
    })
    this.#followed = new FollowedVersion(this.#keys)
    this.#loop = new HeartbeatLoop({
      beat: () => this.#beat(),
      intervalMs: () => this.#timings.heartbeatMs,
      clock: this.#clock,
      onFailure: (err) => {
        // The message of a KeyturnError is enough; the stack is logged only for unexpected errors.
        if (!(err instanceof KeyturnError)) options.log.warn({ err }, 'heartbeat failed')
        else
          options.log.warn({ code: err.code, hint: err.hint }, `heartbeat failed: ${err.message}`)
      },
    })
    const { store, log, role } = options
    const own = { node: this.node, boot: this.boot, pid: process.pid, role }
    this.#uses = new VersionUses({
      write: (version, uses) => recordUses(store, own, version, uses),
      serverTime: (monotonicMs) => this.#clock.at(monotonicMs),
    })
    const beatEarly = () => void this.beat().catch(() => undefined)
    this.#watcher = new KeystoreWatcher({ store, log, onChange: beatEarly })
  }

  state(): MemberState {
    return {
      installed: this.#isInstalled,
      active: this.#followed.active,
      degraded: this.#degraded(),
      loaded: this.#options.provider.loaded(),
      notLoaded: this.#keys.failures(),
      leaseOk: this.#lease.isYoung(),
    }
  }

  async beat(): Promise<void> {
    if (this.#loop.isStopped) throw memberLeft()
    await this.#loop.run()
  }

  async requireLease(version?: number): Promise<void> {
    await this.#requireAble()
    const wanted = version ?? this.#followed.version
    if (wanted !== null) await this.#keys.requireProof(wanted, this.#timings.leaseMs)
  }

  async #requireAble(): Promise<void> {
    if (this.#problem() === null) return
    // A lease is renewed immediately. Other problems can only change in the keystore, which is read at most once a second.
    const mayHaveChanged = this.#loop.isBusy || performance.now() - this.#beatenMs > 1000
    const failure = mayHaveChanged || !this.#lease.isYoung() ? await this.#beatNow() : null
    this.#reportLostLease()
    const problem = this.#problem(failure)
    if (problem !== null) throw problem
  }

  assertLease(version?: number): void {
    const problem = this.#leaseProblem() ?? this.#state.older
    if (problem !== null) throw problem
    if (version === undefined || this.#keys.isProven(version, this.#timings.leaseMs)) return
    throw leaseExpired('proof-old')
  }

  countWraps(version: number, wraps: number): void {
    this.#wraps.add(version, wraps)
  }

  async requireVersion(version: number, places: readonly VersionPlace[]): Promise<void> {
    this.#uses.note(version, places)
    if (this.#keys.isLoaded(version)) return
    const failure = await this.#beatNow()
    if (this.#keys.isLoaded(version)) return
    this.#reportRemoved(version)
    // The application may end because of this error.
    await orGoOn(this.#uses.write().catch(() => undefined))
    throw this.#keys.notLoaded(version, failure)
  }

  on<E extends MemberEventName>(event: E, listener: MemberListener<E>): void {
    this.#emitter.on(event, listener)
  }

  async leave(): Promise<void> {
    if (this.#loop.isStopped) return
    const { store, kind, log } = this.#options
    const takeDown = async () => {
      await this.#watcher.close()
      await this.#loop.stop()
      await this.#wraps.write((counts) => countWraps(store, counts))
      await this.#uses.write()
      await removeHeartbeat(store, `${this.node}/${this.boot}`)
      if (kind === 'ephemeral') await leaveNode(store, this.node)
    }
    const failed = (err: unknown) => {
      log.warn({ err }, 'could not delete the heartbeat: it expires by itself')
    }
    await orGoOn(takeDown().catch(failed))
    await this.abandon()
  }

  /** Stops without writing to the database. */
  async abandon(): Promise<void> {
    await orGoOn(this.#watcher.close())
    await orGoOn(this.#loop.stop())
    this.#lease.close()
    this.#emitter.removeAllListeners()
  }

  /** Runs one beat, and waits for it for a limited time. Returns its error, or null. */
  async #beatNow(): Promise<unknown> {
    this.#keys.retryNow()
    const beat = this.beat().then(
      () => null,
      (error: unknown) => error,
    )
    return pTimeout(beat, { milliseconds: patienceMs, fallback: () => null })
  }

  async #beat(): Promise<void> {
    this.#reportLostLease()
    try {
      // If this round saw a change, write a second heartbeat immediately: settle waits for it.
      for (let round = 0; round < 3; round += 1) {
        if (!(await this.#round())) break
      }
      this.#beatenMs = performance.now()
      void this.#watcher.follow()
    } catch (error) {
      this.#hasLooked = false
      if (error instanceof KeyturnError && error.code === 'node-decommissioned')
        this.#lease.revoke()
      throw asStoreError(error)
    }
  }

  /** One round of a beat: proves keys, writes the heartbeat, reads the keystore. Returns whether another round is needed. */
  async #round(): Promise<boolean> {
    const { store } = this.#options
    if (!this.#hasLooked) await this.#look()
    const { heartbeatMs, leaseMs, proveMs } = this.#timings
    const timeoutMs = (leaseMs - heartbeatMs) / 2
    const proofs = await this.#keys.refresh({ timeoutMs, proveMs, heartbeatMs })
    const loaded = proofs.map(({ version, begunMs, answers }) => ({
      version,
      answers,
      proven_at: this.#clock.at(begunMs),
    }))
    const sent = this.#lease.now()
    await writeHeartbeat(store, this.#heartbeat(loaded))
    // The version is followed before the lease is renewed, so that there is never a young lease with an old version.
    const hasChanged = await this.#look()
    this.#lease.renew(sent, leaseMs)
    this.#emitter.emit('beat', { at: this.#clock.at(performance.now()) })
    await this.#wraps.write((counts) => countWraps(store, counts))
    await this.#uses.write()
    return hasChanged
  }

  #heartbeat(loaded: Heartbeat['loaded']) {
    const { node, role } = this.#options
    return {
      node,
      boot: this.boot,
      pid: process.pid,
      role,
      settings: this.settingsHash,
      software: ownSoftware,
      // With an older keystore it may not wrap, so it reports no loaded version.
      loaded: this.#state.older === null ? loaded : [],
      current: this.#state.older === null ? this.#followed.usable() : null,
      epoch: this.#followed.active?.epoch ?? null,
      notLoaded: this.#notLoaded(),
      leaseMs: this.#timings.leaseMs,
      expireMs: this.#timings.expireMs,
    }
  }

  /** Reads the keystore and follows it. Returns whether the active version changed, or one is to be loaded or unloaded. */
  async #look(): Promise<boolean> {
    const { store, install: name, provider, node, kind, timings } = this.#options
    const isComingUp = this.#beatenMs === -Infinity && !this.#hasLooked
    const reading = await readForBeat(store, node, kind)
    const { install, settings, versions, active, question, isSeen, now } = reading
    if (install !== null) {
      judgeInstall(install, { name, provider: provider.name }, store.db.databaseName)
      // The provider is set once and never changed.
      this.#isInstalled ||= install.provider !== null
    }
    this.#clock.set(now)
    if (isComingUp || !isSeen) await seeNode(store, node, kind)
    if (this.#state.compare(reading)) {
      this.#emitter.emit('keystore-older', { message: this.#state.older?.message ?? '' })
    }
    if (this.#state.older !== null) {
      this.#hasLooked = true
      return false
    }
    this.#timings = { proveMs: defaultProveMs, ...(settings?.settings.fleet ?? timings) }
    const from = this.#followed.version
    const isSwitched = active !== null && this.#followed.follow(active)
    if (isSwitched) {
      this.#emitter.emit('version-switched', { from, to: active.version, epoch: active.epoch })
    }
    const rows = this.#isInstalled ? versions : []
    this.#uses.follow(rows, this.#followed.version)
    const isBehind = this.#keys.note(rows, this.#followed.version, question)
    this.#hasLooked = true
    return isSwitched || isBehind
  }

  /** Why this process may not wrap; null when it may. */
  #problem(cause?: unknown): KeyturnError | null {
    return this.#leaseProblem(cause) ?? this.#state.older ?? this.#followed.problem()
  }

  #leaseProblem(cause?: unknown): KeyturnError | null {
    if (this.#loop.isStopped) return memberLeft()
    const lease = this.#lease.state()
    return lease === 'young' ? null : leaseExpired(lease, cause)
  }

  #notLoaded(): MemberState['notLoaded'] {
    if (this.#state.older === null) return this.#keys.failures()
    const loaded = this.#options.provider.loaded()
    return loaded.map((version) => ({ version, reason: 'keystore-older' }))
  }

  #degraded(): MemberState['degraded'] {
    if (this.#state.older === null) return this.#followed.degraded()
    return { reason: 'keystore-older', message: this.#state.older.message }
  }

  #reportLostLease(): void {
    const lease = this.#lease.lost()
    if (lease !== null) this.#emitter.emit('lease-lost', { lease })
  }

  /** Emits an event when a removed version is still used, so that the removal can be undone in time. */
  #reportRemoved(version: number): void {
    const state = this.#keys.stateOf(version)
    if (state === null || isLoadable(state) || state === 'installing') return
    this.#emitter.emit('removed-version-used', { version, state })
  }
}

/** Waits for `work` for a limited time. Work that takes longer continues; its result, and a later rejection, are ignored. */
async function orGoOn(work: Promise<unknown>): Promise<void> {
  await pTimeout(work, { milliseconds: patienceMs, message: false })
}

function memberLeft(): KeyturnError {
  return new KeyturnError('pool-closed', 'the keyring is closed')
}
