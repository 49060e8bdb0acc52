import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import type { Document } from 'mongodb'
import { freePort } from '../workers/free-port.ts'
import { spawnMongod, untilListening } from './mongod.ts'
import type { SupervisedChild } from './supervised-child.ts'

/** The kind of a member. An arbiter votes and holds no data; in a set with an arbiter the first member becomes the primary. */
export type MemberKind = 'data' | 'arbiter'

export interface Member {
  readonly kind: MemberKind
  /** Of the mongod itself, also in a set whose members are reached through proxies. */
  readonly port: number
  /** SIGKILL, like a host that loses power. */
  kill(): Promise<void>
  /** Starts it again on its old folder and port. */
  restart(): Promise<void>
  /** SIGSTOP: it replicates nothing, votes for nobody and answers nobody until `thaw`. */
  freeze(): void
  thaw(): void
  /** Files in which it has saved documents of rolled-back writes. */
  rollbackFiles(): Promise<string[]>
}

/** One mongod process of a set, with everything it writes under its folder. */
export class OwnMember implements Member {
  readonly kind: MemberKind
  readonly port: number
  /** As the set's configuration and clients name it. */
  readonly host: string
  readonly #path: string
  readonly #folder: string
  #process: SupervisedChild
  #isFrozen = false

  private constructor(options: MemberOptions, port: number, host: string) {
    this.#path = options.path
    this.#folder = options.folder
    this.kind = options.kind
    this.port = port
    this.host = host
    this.#process = this.#spawn()
  }

  /** `proxied` returns the port at which clients and other members reach the given one. */
  static async start(
    options: MemberOptions,
    proxied: (port: number) => Promise<number>,
  ): Promise<OwnMember> {
    await mkdir(join(options.folder, 'data'), { recursive: true })
    const port = await freePort()
    return new OwnMember(options, port, `127.0.0.1:${await proxied(port)}`)
  }

  /** Null when it does not run. */
  get pid(): number | null {
    return this.#process.hasEnded() ? null : this.#process.pid
  }

  get isRunning(): boolean {
    return this.pid !== null
  }

  get answers(): boolean {
    return this.isRunning && !this.#isFrozen
  }

  async listens(): Promise<void> {
    await untilListening(this.#process, this.port, this.#logFile())
  }

  async kill(): Promise<void> {
    await this.#process.kill()
  }

  async restart(): Promise<void> {
    this.#isFrozen = false
    this.#process = this.#spawn()
    await this.listens()
  }

  freeze(): void {
    this.#process.signal('SIGSTOP')
    this.#isFrozen = true
  }

  thaw(): void {
    this.#process.signal('SIGCONT')
    this.#isFrozen = false
  }

  async rollbackFiles(): Promise<string[]> {
    const folder = join(this.#folder, 'data', 'rollback')
    const names = await readdir(folder, { recursive: true }).catch(() => [])
    return names.filter((name) => name.endsWith('.bson'))
  }

  async ask(command: Document, database = 'admin'): Promise<Document> {
    const options = { directConnection: true, serverSelectionTimeoutMS: 5_000 }
    const client = new MongoClient(`mongodb://127.0.0.1:${this.port}/`, options)
    try {
      return await client.db(database).command(command)
    } finally {
      await client.close()
    }
  }

  #spawn(): SupervisedChild {
    const data = join(this.#folder, 'data')
    return spawnMongod({ path: this.#path, port: this.port, data, logFile: this.#logFile() })
  }

  #logFile(): string {
    return join(this.#folder, 'mongod.log')
  }
}

interface MemberOptions {
  path: string
  folder: string
  kind: MemberKind
}
