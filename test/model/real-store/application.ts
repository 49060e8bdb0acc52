import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { Envelope } from '../../../envelope/envelope.ts'
import { sealAll } from '../../../keyring/seal.ts'
import type { FleetMember } from '../../../keyring/membership.ts'
import { leaseState } from '../../../protocol/lease.ts'
import type { ProofQuestion } from '../../../contracts/fleet.ts'
import { isNamed } from '../../../protocol/proof-question.ts'
import { isLoadable, versionState } from '../../../protocol/version-state.ts'
import { seeNode } from '../../../store/fleet-nodes.ts'
import { readActive } from '../../../store/kek-active.ts'
import { readVersions } from '../../../store/kek-versions.ts'
import { writeHeartbeat } from '../../../store/process-heartbeats.ts'
import { readQuestions } from '../../../store/proof-question.ts'
import { isInvalidDocument } from '../../../store/server-errors.ts'
import { serverNow } from '../../../store/store.ts'
import { install, place, timings, type World } from './world.ts'

interface Hand {
  readonly id: string
  readonly content: string
  readonly envelope: Envelope
}

/**
 * What keyring/member.ts does, one step at a time under the test's control: an application without steps is frozen or cut
 * off. It seals with the keyring's own code.
 */
export class Application {
  readonly node: string
  readonly #boot = randomBytes(8).toString('hex')
  readonly #settings: Buffer
  #active: { version: number; epoch: number } | null = null
  #loaded: number[] = []
  /** In milliseconds on the world's clock. */
  #sentMs: number | null = null
  /** A heartbeat that was written before its sender has read `kek_active`. */
  #underway: number | null = null
  #hand: Hand | null = null
  /** The question as last read, and the answers by version. */
  #question: ProofQuestion | null = null
  readonly #answers = new Map<number, string>()
  #count = 0

  constructor(node: string, settings: Buffer) {
    this.node = node
    this.#settings = settings
  }

  /** The version that it would wrap under now; null when it may not wrap. */
  wrapsUnder({ passedMs }: World): number | null {
    if (this.#active === null || !this.#loaded.includes(this.#active.version)) return null
    const sent = this.#sentMs === null ? null : readingAt(this.#sentMs)
    const lease = leaseState(sent, readingAt(passedMs), timings.leaseMs)
    return lease === 'young' ? this.#active.version : null
  }

  async beat(world: World): Promise<void> {
    await this.send(world)
    await this.follow(world)
  }

  async send({ store, passedMs }: World): Promise<void> {
    const provenAt = await serverNow(store)
    await seeNode(store, this.node, 'host')
    const rows = await readVersions(store)
    const active = this.#active?.version ?? null
    const loadable = rows.filter((row) => isLoadable(versionState(row, active)))
    this.#loaded = loadable.map(({ _id }) => _id)
    await writeHeartbeat(store, {
      node: this.node,
      boot: this.#boot,
      pid: 1,
      role: 'app',
      settings: this.#settings,
      current: active,
      epoch: this.#active?.epoch ?? null,
      loaded: this.#loaded.map((version) => {
        if (this.#question !== null && isNamed(this.#question, version)) {
          this.#answers.set(version, this.#question.nonce)
        }
        return { version, proven_at: provenAt, answers: this.#answers.get(version) ?? null }
      }),
      leaseMs: timings.leaseMs,
      expireMs: timings.expireMs,
    })
    this.#underway = passedMs
  }

  async follow({ store }: World): Promise<void> {
    if (this.#underway === null) return
    const active = await readActive(store)
    this.#question = (await readQuestions(store)).at(-1) ?? null
    if (active !== null) this.#active = { version: active.version, epoch: active.epoch }
    this.#sentMs = this.#underway
    this.#underway = null
  }

  /** Seals new content of a record and keeps it unwritten. Returns the version; null when it may not wrap. */
  async seal(world: World, id: string): Promise<number | null> {
    this.#count += 1
    const content = `${id} by ${this.node}, ${this.#count}`
    const { provider } = world
    const parts = { install, provider, member: this.#memberIn(world) }
    try {
      const [envelope] = await sealAll(parts, [{ plaintext: content, place: { ...place, id } }])
      if (envelope === undefined) throw new Error('nothing was sealed')
      this.#hand = { id, content, envelope }
      return envelope.kek_version
    } catch (error) {
      if (error instanceof KeyturnError && error.code === 'lease-expired') return null
      throw error
    }
  }

  /** Writes the sealed content, however late. Returns whether MongoDB accepted it. */
  async write({ store, contents }: World): Promise<boolean> {
    if (this.#hand === null) return false
    const { id, content, envelope } = this.#hand
    this.#hand = null
    const records = store.db.collection<{ _id: string }>(place.collection)
    try {
      await records.updateOne({ _id: id }, { $set: { [place.field]: envelope } }, { upsert: true })
      contents.set(id, content)
      return true
    } catch (error) {
      // The validator of a removal.
      if (isInvalidDocument(error)) return false
      throw error
    }
  }

  #memberIn(world: World): FleetMember {
    const leaseOk = () => this.wrapsUnder(world) !== null
    return {
      requireLease: async () => {
        if (!leaseOk()) throw new KeyturnError('lease-expired', 'no lease')
      },
      state: () => ({ active: this.#active, leaseOk: leaseOk() }),
      assertLease: () => undefined,
      countWraps: () => undefined,
    } as unknown as FleetMember
  }
}

const readingAt = (ms: number) => ({ monotonicMs: ms, bootMs: ms, wallMs: ms })
