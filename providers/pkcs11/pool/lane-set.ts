import { availableParallelism } from 'node:os'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { Pkcs11Config } from '../../../contracts/settings.ts'
import type { Log } from '../../../observability/log.ts'
import { errorFrom, providerClosed, type Fault } from '../wire/errors.ts'
import { laneEnvironment } from './lane-environment.ts'
import { LaneHost } from './lane-host.ts'
import type { LaneReply, OpenReply, OpenRequest } from '../wire/messages.ts'
import { resultOf } from '../wire/result.ts'
import { loginGate } from './login-gate.ts'

/** A network HSM may take seconds to connect and log in. */
const OPEN_DEADLINE_MS = 30_000
/** A crypt call that waits this long for the token leaves its core idle, so more lanes than cores are useful. */
const WAITING_CALL_MS = 0.5
/** Batches that a lane may hold: the one it works on, and the next. */
const IN_FLIGHT_PER_LANE = 2
/** Weight of the newest batch in the average time of a call. */
const NEWEST_WEIGHT = 0.2

/** One session of the token, in a thread of a child process. `keys` holds the generation that it has loaded of each version. */
export interface PoolLane {
  host: LaneHost
  number: number
  keys: Map<number, number>
  inFlight: number
  /** No job has succeeded in its new process yet, so its view of the token's keys is up to date. */
  isFresh: boolean
}

/** A lane could not be opened. */
export class OpenFailed extends Error {
  override readonly name = 'OpenFailed'
  readonly fault: Fault

  constructor(fault: Fault) {
    super(fault.message)
    this.fault = fault
  }
}

export interface LaneSetOptions {
  config: Pkcs11Config
  pin: string
  log: Log
  /** For tests; default: the machine's cores. */
  cores?: number
  /** For tests; default: the limit in queue.ts. */
  mostWaiting?: number
}

/**
 * The lanes of a pool, in as many child processes as there are cores. They are opened one at a time through the token's
 * login gate: four threads that initialize SoftHSM2 at once crash it, and a wrong PIN must be sent only once.
 */
export class LaneSet {
  readonly lanes: PoolLane[] = []
  readonly #options: LaneSetOptions
  readonly #cores: number
  #tokenMax: number | null = null
  #callMs: number | null = null
  #waitMs = 0
  #opened: OpenReply | undefined
  readonly #ending = new Set<Promise<unknown>>()
  #opening: LaneHost | undefined
  #closed = false

  constructor(options: LaneSetOptions) {
    this.#options = options
    this.#cores = Math.max(1, options.cores ?? availableParallelism())
  }

  /** The token as the last opened lane described it; undefined before the first login. */
  get token(): OpenReply | undefined {
    return this.#opened
  }

  /** How many sessions may be open: at most the configured number, one less than the token has, and for a fast token the number of cores. */
  get maxLanes(): number {
    const tokenMost = this.#tokenMax === null ? Infinity : Math.max(1, this.#tokenMax - 1)
    const waiting = this.#waitMs >= WAITING_CALL_MS
    const useful = waiting ? Infinity : this.#cores
    return Math.max(1, Math.min(this.#options.config.maxSessions, tokenMost, useful))
  }

  /** Lanes that are working. */
  get busy(): number {
    return this.lanes.filter((lane) => lane.inFlight > 0).length
  }

  /** How many lanes are useful while `allowed` of them may work at once. */
  usefulLanes(allowed: number): number {
    return Math.max(1, Math.min(this.maxLanes, allowed))
  }

  /** The lane for a job: an idle one, or with `queueAhead` the one with the fewest jobs; undefined when none is free. */
  laneFor(job: { queueAhead: boolean }, allowed: number): PoolLane | undefined {
    const [first, ...others] = this.lanes
    if (first === undefined) return undefined
    const least = others.reduce((a, b) => (b.inFlight < a.inFlight ? b : a), first)
    if (least.inFlight === 0) return this.busy < allowed ? least : undefined
    // Opening another lane is better than queueing a second batch in a busy one.
    if (this.lanes.length < this.usefulLanes(allowed)) return undefined
    return job.queueAhead && least.inFlight < IN_FLIGHT_PER_LANE ? least : undefined
  }

  /** Average milliseconds of a crypt call, recent ones weighted more; null before the first. */
  get callMs(): number | null {
    return this.#callMs
  }

  measure({ calls, milliseconds, waited }: LaneReply): void {
    if (calls === 0) return
    const smooth = (old: number, now: number): number => old + NEWEST_WEIGHT * (now - old)
    this.#callMs = smooth(this.#callMs ?? milliseconds / calls, milliseconds / calls)
    this.#waitMs = smooth(this.#waitMs, waited / calls)
  }

  /** The token has no session for a further lane. */
  limitToPresent(): void {
    this.#tokenMax = this.lanes.length + 1
  }

  /** Opens one more lane. Throws OpenFailed; after a refused PIN, throws that refusal again without a login. */
  async open(): Promise<PoolLane> {
    const { config, pin } = this.#options
    const open = (): Promise<PoolLane> => this.#open()
    return loginGate(config).pass(pin, open, isRefusedPin)
  }

  /** Removes the lanes of a child and kills the child. */
  lose(host: LaneHost): void {
    this.#remove(host)
    host.discard()
    this.#track(host.exited)
  }

  /** Opens no further lane. A lane that is being opened may finish: a software token writes to disk during a login. */
  stopOpening(): void {
    this.#closed = true
  }

  /** Closes all lanes, kills a child that is still being opened, and waits until no child is left. */
  async close(): Promise<void> {
    this.stopOpening()
    this.#opening?.kill()
    const hosts = new Set(this.lanes.map((lane) => lane.host))
    for (const host of hosts) {
      const numbers = this.lanes.filter((lane) => lane.host === host).map((lane) => lane.number)
      this.#remove(host)
      this.#track(host.end(numbers))
    }
    while (this.#ending.size > 0) await Promise.all(this.#ending)
  }

  async #open(): Promise<PoolLane> {
    if (this.#closed) throw providerClosed()
    const { config, pin, log } = this.#options
    const { host, number, fresh } = this.#place()
    const { modulePath, moduleParameters = null, token, userType = 'user' } = config
    const request: OpenRequest = {
      op: 'open',
      modulePath,
      moduleParameters,
      token,
      userType,
      pin,
    }
    let reply: LaneReply
    try {
      if (fresh) this.#opening = host
      reply = await host.send(number, request, OPEN_DEADLINE_MS)
      if (reply.fault !== null) throw new OpenFailed(this.#awayIfSeenBefore(reply.fault))
    } catch (error) {
      if (fresh || !host.alive) this.lose(host)
      if (error instanceof OpenFailed) throw error
      const message = `the PKCS#11 module failed: ${(error as Error).message}`
      throw new OpenFailed({ code: 'hsm-away', message, fault: 'reconnect' })
    } finally {
      this.#opening = undefined
    }
    const opened = resultOf(request, reply)
    if (this.#opened === undefined) for (const warning of opened.warnings) log.warn(warning)
    this.#opened = opened
    if (opened.maxSessions !== null) this.#tokenMax = opened.maxSessions
    const lane: PoolLane = { host, number, keys: new Map(), inFlight: 0, isFresh: fresh }
    this.lanes.push(lane)
    log.debug({ pid: host.pid, lane: number, lanes: this.lanes.length }, 'lane opened')
    return lane
  }

  /** A token that was found before is not misspelt in the configuration: it is away and may come back. */
  #awayIfSeenBefore(fault: Fault): Fault {
    if (this.#opened === undefined || fault.code !== 'token-not-found') return fault
    const hint = "look at the HSM and its client's network and service"
    return { ...fault, code: 'hsm-away', fault: 'reconnect', hint }
  }

  /** A new child while there are fewer children than cores, else one more thread in the child with the fewest. */
  #place(): { host: LaneHost; number: number; fresh: boolean } {
    const hosts = [...new Set(this.lanes.map((lane) => lane.host))]
    if (hosts.length < this.#cores) {
      return { host: new LaneHost(laneEnvironment(this.#options.config)), number: 0, fresh: true }
    }
    const lanesOf = (host: LaneHost): PoolLane[] => this.lanes.filter((lane) => lane.host === host)
    const host = hosts.reduce((a, b) => (lanesOf(b).length < lanesOf(a).length ? b : a))
    const number = Math.max(...lanesOf(host).map((lane) => lane.number)) + 1
    return { host, number, fresh: false }
  }

  #remove(host: LaneHost): void {
    const kept = this.lanes.filter((lane) => lane.host !== host)
    this.lanes.splice(0, this.lanes.length, ...kept)
  }

  #track(ending: Promise<unknown>): void {
    this.#ending.add(ending)
    void ending.finally(() => this.#ending.delete(ending))
  }
}

function isRefusedPin(error: unknown): error is OpenFailed {
  return error instanceof OpenFailed && error.fault.fault === 'pin'
}

/** The error that a caller gets when no lane can be opened. */
export function openError(error: unknown): KeyturnError {
  if (error instanceof OpenFailed) return errorFrom(error.fault)
  return error instanceof KeyturnError ? error : new KeyturnError('internal', String(error))
}
