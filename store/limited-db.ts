import type { AbstractCursor, ClientSession, Collection, Db, Document } from 'mongodb'
import { collections } from '../contracts/names.ts'
import { awaiting } from '../observability/awaiting.ts'
import { throughElection } from './election.ts'
import { limits } from './limits.ts'
import { sent } from './unsent.ts'

/**
 * Every statement to MongoDB goes through here: it gets a time limit (`maxTimeMS`), is repeated through an election, and is
 * reported while it is waited for. The limit of a majority write is in the write concern (store.ts).
 */
export function limitedDb(db: Db): Db {
  return new Proxy(db, {
    get(target, name) {
      switch (name) {
        case 'collection':
          return (collection: string, options?: object) =>
            limitedCollection(target.collection(collection, options))
        case 'createCollection':
          return (collection: string, options: Options = {}) =>
            awaiting(`mongodb: the making of ${collection}`, () =>
              throughElection(() => target.createCollection(collection, bounded(options)), true),
            )
        case 'command':
          return (command: Document, options?: Options) => limitedCommand(target, command, options)
        case 'listCollections':
          return (filter: Document = {}, options: Options = {}) =>
            limitedCursor('the list of collections', bounded(options), (bound) =>
              target.listCollections(filter, bound),
            )
        default:
          return own(target, name)
      }
    },
  })
}

interface Options {
  session?: ClientSession
  maxTimeMS?: number
}

interface Place {
  options: number
  isRead?: boolean
}

/** Position of a method's options, and whether it may be repeated even if it may have been executed. */
const methods: Record<string, Place> = {
  bulkWrite: { options: 1 },
  countDocuments: { options: 1, isRead: true },
  // The index's own options come first.
  createIndex: { options: 2, isRead: true },
  deleteMany: { options: 1 },
  deleteOne: { options: 1 },
  distinct: { options: 2, isRead: true },
  dropIndex: { options: 1 },
  estimatedDocumentCount: { options: 0, isRead: true },
  findOne: { options: 1, isRead: true },
  findOneAndReplace: { options: 2 },
  findOneAndUpdate: { options: 2 },
  insertMany: { options: 1 },
  insertOne: { options: 1 },
  replaceOne: { options: 2 },
  updateMany: { options: 2 },
  updateOne: { options: 2 },
}

/** Methods that return a cursor. */
const cursors: Record<string, number> = { aggregate: 1, find: 1, listIndexes: 0 }

const keystoreNames: ReadonlySet<string> = new Set(Object.values(collections))

type Method = (...args: unknown[]) => unknown

function limitedCollection(collection: Collection): Collection {
  const { collectionName } = collection
  const isOurs = keystoreNames.has(collectionName)
  const usual = isOurs ? limits.statement : limits.records
  return new Proxy(collection, {
    get(target, name) {
      const value = own(target, name)
      if (typeof name !== 'string' || typeof value !== 'function') return value
      const call = value as Method
      const method = methods[name]
      const what = `${name} on ${collectionName}`
      if (method !== undefined) {
        const ms = name === 'createIndex' && !isOurs ? limits.index : usual
        return (...args: unknown[]) =>
          limitedCall(what, args, method, ms, (bound) => call(...bound) as Promise<unknown>)
      }
      const at = cursors[name]
      if (at === undefined) return value
      return (...args: unknown[]) => {
        const options = (args[at] ?? {}) as Options
        return limitedCursor(what, bounded(options, usual), (bound) =>
          call(...placed(args, at, bound)),
        )
      }
    },
  })
}

async function limitedCall(
  what: string,
  args: unknown[],
  { options: at, isRead = false }: Place,
  ms: number,
  call: (args: unknown[]) => Promise<unknown>,
): Promise<unknown> {
  const options = (args[at] ?? {}) as Options
  const ask = () => awaiting(`mongodb: ${what}`, () => call(placed(args, at, bounded(options, ms))))
  // A statement in a transaction is repeated with the whole transaction.
  return isInTransaction(options) ? await sent(ask) : await throughElection(ask, isRead)
}

async function limitedCommand(db: Db, command: Document, options?: Options): Promise<Document> {
  const [name = 'a command'] = Object.keys(command)
  const send = (document: Document) =>
    awaiting(`mongodb: ${name}`, () => db.command(document, options))
  if (isInTransaction(options)) return await sent(() => send(command))
  const limited = { maxTimeMS: limits.statement, ...command }
  // The command's name must be the first member.
  return await throughElection(() => send({ [name]: undefined, ...limited }), true)
}

/** Reading the whole result at once is repeated through an election; iterating is not. */
function limitedCursor(
  what: string,
  options: Options,
  open: (options: Options) => unknown,
): unknown {
  const cursor = open(options) as AbstractCursor<unknown>
  const toArray = cursor.toArray.bind(cursor)
  const mayRepeat = options.session === undefined
  cursor.toArray = async (): Promise<unknown[]> => {
    const read = () =>
      awaiting(`mongodb: ${what}`, async () => {
        cursor.rewind()
        return await toArray()
      })
    return mayRepeat
      ? await throughElection(read, true)
      : await sent(() => awaiting(`mongodb: ${what}`, toArray))
  }
  return cursor
}

function bounded(options: Options, ms: number = limits.statement): Options {
  return isInTransaction(options) ? options : { maxTimeMS: ms, ...options }
}

function isInTransaction(options: Options | undefined): boolean {
  return options?.session?.inTransaction() === true
}

function placed(args: unknown[], at: number, options: Options): unknown[] {
  const all = [...args]
  while (all.length < at) all.push({})
  all[at] = options
  return all
}

/** A member of the driver's object, bound to that object because the driver uses private fields. */
function own(target: object, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name, target)
  return typeof value === 'function' ? (value as Method).bind(target) : value
}
