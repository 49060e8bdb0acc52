import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import type { Document } from 'mongodb'
import { freePort } from '../workers/free-port.ts'
import type { SupervisedChild } from './supervised-child.ts'
import { replicaSet, spawnMongod, untilListening } from './mongod.ts'
import { waitUntil } from './wait-until.ts'

/** The kind of a member. An arbiter votes and holds no data; in a set with an arbiter the first member becomes the primary. */
export type MemberKind = 'data' | 'arbiter'

export interface Member {
  readonly kind: MemberKind
  readonly port: number
  /** SIGKILL, like a host that loses power. */
  kill(): Promise<void>
  /** Starts it again on its old folder and port. */
  restart(): Promise<void>
}

/** A replica set of several mongod processes on this machine, all supervised. */
export interface ReplicaSet {
  readonly uri: string
  readonly members: readonly Member[]
  /** Runs a command on one member, in the database `admin`. */
  command(member: Member, command: Document): Promise<Document>
  /** The current primary; waits until there is one. */
  primary(): Promise<Member>
  /** Ends the term of the primary; another member is elected. */
  stepDown(): Promise<void>
  /** Resolves when all running members are primary, secondary or arbiter. */
  healthy(): Promise<void>
  stop(): Promise<void>
}

const waitMs = 60_000

/**
 * Starts a set with these members on free ports of the loopback address, everything under `folder`. Elections are quick:
 * a primary that is gone is replaced after two seconds.
 */
export async function startReplicaSet(options: {
  path: string
  folder: string
  members: readonly MemberKind[]
}): Promise<ReplicaSet> {
  const members: OwnMember[] = []
  try {
    for (const [index, kind] of options.members.entries()) {
      members.push(
        await OwnMember.start(options.path, join(options.folder, `member-${index}`), kind),
      )
    }
    await Promise.all(members.map((member) => member.listens()))
    await initiate(members)
  } catch (error) {
    await Promise.all(members.map((member) => member.kill()))
    throw error
  }
  return setOf(members)
}

function setOf(members: readonly OwnMember[]): ReplicaSet {
  const hosts = members.filter(({ kind }) => kind === 'data').map(({ host }) => host)
  const primary = async () =>
    await waitUntil('the replica set has no primary', () => primaryOf(members), {
      withinMs: waitMs,
    })
  return {
    uri: `mongodb://${hosts.join(',')}/?replicaSet=${replicaSet}`,
    members,
    command: async ({ port }, command) => await runAdmin(port, command),
    primary,
    stepDown: async () => {
      // The step-down fails while no secondary has caught up, or when another primary was elected meanwhile.
      await waitUntil('no primary steps down', async () => stepDown(await primary()), {
        withinMs: waitMs,
      })
    },
    healthy: async () => {
      await waitUntil('the replica set is not whole', () => isWhole(members, primary), {
        withinMs: waitMs,
      })
    },
    stop: async () => {
      // All at once: a primary that stops alone first waits for an election.
      await Promise.all(members.map((member) => member.kill()))
    },
  }
}

class OwnMember implements Member {
  readonly kind: MemberKind
  readonly port: number
  readonly #path: string
  readonly #folder: string
  #process: SupervisedChild

  private constructor(path: string, folder: string, kind: MemberKind, port: number) {
    this.#path = path
    this.#folder = folder
    this.kind = kind
    this.port = port
    this.#process = this.#spawn()
  }

  static async start(path: string, folder: string, kind: MemberKind): Promise<OwnMember> {
    await mkdir(join(folder, 'data'), { recursive: true })
    return new OwnMember(path, folder, kind, await freePort())
  }

  get host(): string {
    return `127.0.0.1:${this.port.toString()}`
  }

  get isRunning(): boolean {
    return !this.#process.hasEnded()
  }

  async listens(): Promise<void> {
    await untilListening(this.#process, this.port, this.#logFile())
  }

  async kill(): Promise<void> {
    await this.#process.kill()
  }

  async restart(): Promise<void> {
    this.#process = this.#spawn()
    await this.listens()
  }

  #spawn(): SupervisedChild {
    const { port } = this
    const data = join(this.#folder, 'data')
    return spawnMongod({ path: this.#path, port, data, logFile: this.#logFile() })
  }

  #logFile(): string {
    return join(this.#folder, 'mongod.log')
  }
}

async function initiate(members: readonly OwnMember[]): Promise<void> {
  const [first] = members
  if (first === undefined) return
  const hasArbiter = members.some(({ kind }) => kind === 'arbiter')
  const priorityOf = (member: OwnMember) =>
    member.kind === 'arbiter' ? 0 : hasArbiter && member === first ? 2 : 1
  await runAdmin(first.port, {
    replSetInitiate: {
      _id: replicaSet,
      members: members.map((member, index) => ({
        _id: index,
        host: member.host,
        priority: priorityOf(member),
        ...(member.kind === 'arbiter' ? { arbiterOnly: true } : {}),
      })),
      settings: { electionTimeoutMillis: 2_000, heartbeatIntervalMillis: 500 },
    },
  })
  await waitUntil('no member becomes primary', () => primaryOf(members), { withinMs: waitMs })
}

/** Steps down for four seconds, so that several elections in a row are possible. */
async function stepDown({ port }: OwnMember): Promise<boolean> {
  try {
    await runAdmin(port, { replSetStepDown: 4, secondaryCatchUpPeriodSecs: 3 })
    return true
  } catch (error) {
    const { codeName } = error as { codeName?: unknown }
    if (codeName === 'ExceededTimeLimit' || codeName === 'NotWritablePrimary') return false
    throw error
  }
}

async function primaryOf(members: readonly OwnMember[]): Promise<OwnMember | null> {
  for (const member of members) if (await isPrimary(member)) return member
  return null
}

async function isPrimary(member: OwnMember): Promise<boolean> {
  if (!member.isRunning) return false
  return (await runAdmin(member.port, { hello: 1 }))['isWritablePrimary'] === true
}

async function isWhole(
  members: readonly OwnMember[],
  primary: () => Promise<OwnMember>,
): Promise<boolean> {
  const { port } = await primary()
  const status = (await runAdmin(port, { replSetGetStatus: 1 })) as {
    members: { stateStr: string; optime?: { ts: { toString(): string } } }[]
  }
  const running = members.filter(({ isRunning }) => isRunning).length
  const states = status.members.map(({ stateStr }) => stateStr)
  const well = states.filter((state) => ['PRIMARY', 'SECONDARY', 'ARBITER'].includes(state))
  return well.length === running
}

async function runAdmin(port: number, command: Document): Promise<Document> {
  const options = { directConnection: true, serverSelectionTimeoutMS: 5_000 }
  const client = new MongoClient(`mongodb://127.0.0.1:${port.toString()}/`, options)
  try {
    return await client.db('admin').command(command)
  } finally {
    await client.close()
  }
}
