import {
  MongoServerSelectionError,
  type Document,
  type MongoClient,
  type TopologyDescription,
  type TopologyDescriptionChangedEvent,
} from 'mongodb'
import pTimeout from 'p-timeout'
import { limits } from './limits.ts'

/** Tracks which servers have answered a client that is being opened, by its own monitoring. */
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
   * The answer to the first command. It waits through an election as long as the driver looks for a primary, but only five
   * seconds if no server answers.
   */
  async firstAnswer(answer: Promise<Document>): Promise<Document> {
    const unlessSilent = (): Promise<Document> => {
      const seen = this.#seen
      if (seen === null || [...seen.servers.values()].some(({ type }) => type !== 'Unknown')) {
        return answer
      }
      throw new MongoServerSelectionError(`no server answered for ${limits.connect} ms`, seen)
    }
    return await pTimeout(answer, { milliseconds: limits.connect, fallback: unlessSilent })
  }

  close(): void {
    this.#client.off('topologyDescriptionChanged', this.#look)
  }
}
