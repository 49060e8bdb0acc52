import {
  MongoServerSelectionError,
  type Document,
  type MongoClient,
  type TopologyDescription,
  type TopologyDescriptionChangedEvent,
} from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { limits } from './limits.ts'

/** Which servers have answered a client that is being opened, from its own looks at them. */
export class KnownMembers {
  readonly #client: MongoClient
  readonly #look = ({ newDescription }: TopologyDescriptionChangedEvent) => {
    this.#seen = newDescription
  }
  #seen: TopologyDescription | null = null

  constructor(client: MongoClient) {
    this.#client = client
    client.on('topologyDescriptionChanged', this.#look)
  }

  /**
   * The answer to the first question. An election is waited for, as long as the driver looks for a primary; servers of
   * which none answers within five seconds are not.
   */
  async unlessNobodyAnswers(asked: Promise<Document>): Promise<Document> {
    asked.catch(() => undefined)
    const waiting = new AbortController()
    const nobody = pause(limits.connect, null, { signal: waiting.signal }).then(() => {
      const seen = this.#seen
      if (seen === null || [...seen.servers.values()].some(({ type }) => type !== 'Unknown')) {
        return asked
      }
      throw new MongoServerSelectionError(`no server answered for ${limits.connect} ms`, seen)
    })
    try {
      return await Promise.race([asked, nobody])
    } finally {
      waiting.abort()
      nobody.catch(() => undefined)
    }
  }

  close(): void {
    this.#client.off('topologyDescriptionChanged', this.#look)
  }
}
