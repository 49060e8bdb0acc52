import { join } from 'node:path'
import type { Document } from 'mongodb'
import { MemberLinks } from './member-links.ts'
import { replicaSet } from './mongod.ts'
import { OwnMember } from './set-member.ts'
import type { Member, MemberKind } from './set-member.ts'
import { waitUntil } from './wait-until.ts'

export type { Member, MemberKind } from './set-member.ts'

/** A replica set of several mongod processes on this machine, all supervised, and what can go wrong with it. */
export interface ReplicaSet {
  readonly uri: string
  readonly members: readonly Member[]
  /** Runs a command on one member, around its proxy; in the database `admin` by default. */
  command(member: Member, command: Document, database?: string): Promise<Document>
  /** The current primary; waits until there is one. */
  primary(): Promise<Member>
  /** Ends the term of the primary; another member is elected. */
  stepDown(): Promise<void>
  /** Resolves when all running members are primary, secondary or arbiter. */
  healthy(): Promise<void>
  /** The other members with data apply each write so many seconds late, and are never elected; 0 ends that. */
  delaySecondaries(seconds: number): Promise<void>
  /**
   * The other members fetch nothing from the primary any more. It stays primary, because they call no election for a minute:
   * it takes writes that no majority has. Needs a set with links, like the next two.
   */
  stopReplication(): Promise<Member>
  /** Cuts the member off from all others, which elect a primary without it. Clients reach both sides. */
  isolate(member: Member): Promise<void>
  /** Ends `stopReplication` and `isolate`: writes that only the isolated member has are rolled back. */
  heal(): void
  stop(): Promise<void>
}

const waitMs = 60_000
/** How long `stopReplication` keeps the others from an election, in seconds. */
const noElectionSeconds = 60

export interface SetOptions {
  path: string
  folder: string
  members: readonly MemberKind[]
  /** Proxies between the members, so that they can be cut off from each other. */
  links?: boolean
}

/**
 * Starts a set with these members on free ports of the loopback address, everything under `folder`. Elections are quick:
 * a primary that is gone is replaced after two seconds.
 */
export async function startReplicaSet(options: SetOptions): Promise<ReplicaSet> {
  const { path, folder } = options
  const members: OwnMember[] = []
  const links =
    options.links === true ? new MemberLinks((index) => members[index]?.pid ?? null) : null
  const set = new OwnSet(members, links)
  const reached = async (port: number) => (links === null ? port : await links.open(port))
  try {
    for (const [index, kind] of options.members.entries()) {
      const own = { path, kind, folder: join(folder, `member-${index}`) }
      members.push(await OwnMember.start(own, reached))
    }
    await Promise.all(members.map((member) => member.listens()))
    await initiate(members)
    await set.primary()
  } catch (error) {
    await set.stop()
    throw error
  }
  return set
}

class OwnSet implements ReplicaSet {
  readonly members: readonly OwnMember[]
  readonly #links: MemberLinks | null

  constructor(members: readonly OwnMember[], links: MemberLinks | null) {
    this.members = members
    this.#links = links
  }

  get uri(): string {
    const hosts = this.members.filter(({ kind }) => kind === 'data').map(({ host }) => host)
    return `mongodb://${hosts.join(',')}/?replicaSet=${replicaSet}`
  }

  async command(member: Member, command: Document, database?: string): Promise<Document> {
    return await this.#own(member).ask(command, database)
  }

  async primary(): Promise<OwnMember> {
    const primary = () => primaryOf(this.members)
    return await waitUntil('the replica set has no primary', primary, { withinMs: waitMs })
  }

  async stepDown(): Promise<void> {
    // The step-down fails while no secondary has caught up, or when another primary was elected meanwhile.
    const once = async () => stepDown(await this.primary())
    await waitUntil('no primary steps down', once, { withinMs: waitMs })
  }

  async healthy(): Promise<void> {
    const isWhole = () => this.#isWhole()
    await waitUntil('the replica set is not whole', isWhole, { withinMs: waitMs })
  }

  async delaySecondaries(seconds: number): Promise<void> {
    const primary = await this.primary()
    const { config } = (await primary.ask({ replSetGetConfig: 1 })) as { config: SetConfig }
    const members = config.members.map((member) => {
      const isDelayed = seconds > 0 && !member.arbiterOnly && member.host !== primary.host
      return { ...member, priority: isDelayed ? 0 : 1, secondaryDelaySecs: isDelayed ? seconds : 0 }
    })
    await primary.ask({ replSetReconfig: { ...config, version: config.version + 1, members } })
  }

  async stopReplication(): Promise<OwnMember> {
    const links = this.#requireLinks()
    const primary = await this.primary()
    for (const other of this.#others(primary)) {
      await other.ask({ replSetFreeze: noElectionSeconds })
      links.cut(this.#indexOf(other), this.#indexOf(primary))
    }
    return primary
  }

  async isolate(member: Member): Promise<void> {
    const links = this.#requireLinks()
    const own = this.#own(member)
    for (const other of this.#others(own)) {
      links.cut(this.#indexOf(other), this.#indexOf(own))
      links.cut(this.#indexOf(own), this.#indexOf(other))
    }
    // Ends the freeze of `stopReplication`.
    for (const other of this.#others(own)) await other.ask({ replSetFreeze: 0 })
  }

  heal(): void {
    this.#requireLinks().heal()
  }

  async stop(): Promise<void> {
    // All at once: a primary that stops alone first waits for an election.
    await Promise.all(this.members.map((member) => member.kill()))
    await this.#links?.close()
  }

  #own(member: Member): OwnMember {
    const own = this.members.find((each) => each === member)
    if (own === undefined) throw new Error('the member is of another set')
    return own
  }

  #indexOf(member: OwnMember): number {
    return this.members.indexOf(member)
  }

  #others(member: OwnMember): OwnMember[] {
    return this.members.filter((each) => each !== member && each.answers)
  }

  #requireLinks(): MemberLinks {
    if (this.#links === null) throw new Error('the set was started without links')
    return this.#links
  }

  async #isWhole(): Promise<boolean> {
    const primary = await this.primary()
    const status = (await primary.ask({ replSetGetStatus: 1 })) as {
      members: { stateStr: string }[]
    }
    const running = this.members.filter(({ isRunning }) => isRunning).length
    const states = status.members.map(({ stateStr }) => stateStr)
    const well = states.filter((state) => ['PRIMARY', 'SECONDARY', 'ARBITER'].includes(state))
    return well.length === running
  }
}

interface SetConfig {
  version: number
  members: { host: string; arbiterOnly: boolean }[]
}

async function initiate(members: readonly OwnMember[]): Promise<void> {
  const [first] = members
  if (first === undefined) return
  const hasArbiter = members.some(({ kind }) => kind === 'arbiter')
  const priorityOf = (member: OwnMember) =>
    member.kind === 'arbiter' ? 0 : hasArbiter && member === first ? 2 : 1
  await first.ask({
    replSetInitiate: {
      _id: replicaSet,
      members: members.map((member, index) => ({
        _id: index,
        host: member.host,
        priority: priorityOf(member),
        arbiterOnly: member.kind === 'arbiter',
      })),
      settings: {
        electionTimeoutMillis: 2_000,
        heartbeatIntervalMillis: 500,
        // A member that fetches from a frozen one waits for half a minute before it asks another.
        chainingAllowed: false,
      },
    },
  })
}

/** Steps down for four seconds, so that several elections in a row are possible. */
async function stepDown(primary: OwnMember): Promise<boolean> {
  try {
    await primary.ask({ replSetStepDown: 4, secondaryCatchUpPeriodSecs: 3 })
    return true
  } catch (error) {
    const { codeName } = error as { codeName?: unknown }
    if (codeName === 'ExceededTimeLimit' || codeName === 'NotWritablePrimary') return false
    throw error
  }
}

/** Of two that call themselves primary, as in a partition, the one of the later term. */
async function primaryOf(members: readonly OwnMember[]): Promise<OwnMember | null> {
  const terms = await Promise.all(members.map(async (member) => await termAsPrimary(member)))
  const latest = Math.max(...terms)
  return latest < 0 ? null : (members[terms.indexOf(latest)] ?? null)
}

/** -1 when it is not the primary. */
async function termAsPrimary(member: OwnMember): Promise<number> {
  if (!member.answers) return -1
  // A member that ends meanwhile is not the primary.
  const hello = await member.ask({ hello: 1 }).catch(() => null)
  if (hello?.['isWritablePrimary'] !== true) return -1
  const { lastWrite } = hello as { lastWrite?: { opTime: { t: unknown } } }
  return Number(lastWrite?.opTime.t ?? 0)
}
