/** What a user may not do, from the text of the server's refusal. */
export interface RefusedAction {
  /** Actions of which the user's roles lack at least one. */
  readonly actions: readonly string[]
  /** `database.collection` of the statement, and of those that it joins; the database alone for a command without a collection. */
  readonly places: readonly string[]
}

/** MongoDB 6.0: src/mongo/db/commands.cpp. The whole statement follows. */
const ofServer = /^not authorized on (\S+) to execute command \{ (\w+): (?:"([^"]*)")?/i
/** Atlas answers in its own words (error 8000). */
const ofAtlas = /user is not allowed to do action \[(\w+)\] on \[([^\]]+)\]/i

/** The actions of commands that are not named like them (MongoDB manual, "Privilege Actions"). */
const actionsOf: Readonly<Record<string, readonly string[]>> = {
  aggregate: ['find'],
  count: ['find'],
  create: ['createCollection'],
  createIndexes: ['createIndex'],
  delete: ['remove'],
  distinct: ['find'],
  findAndModify: ['find', 'update'],
}

const ifUpsert = 'insert for an upsert'

/** Null if the text is not such a refusal. */
export function refusedAction(text: string): RefusedAction | null {
  const [, database, command, collection] = ofServer.exec(text) ?? []
  if (database !== undefined && command !== undefined) {
    const joined = [...text.matchAll(/\b(?:coll|from): "([^"]+)"/g)].map(([, name]) => name)
    const inserts = text.includes('upsert: true') ? ['insert'] : []
    // The server does not quote the statements of a bulk write.
    if (command === 'update' && !text.includes('updates: [')) inserts.push(ifUpsert)
    return {
      actions: [...(actionsOf[command] ?? [command]), ...inserts],
      places:
        collection === undefined
          ? [database]
          : [...new Set([collection, ...joined])].map((name) => `${database}.${name}`),
    }
  }
  const [, action, place] = ofAtlas.exec(text) ?? []
  return action === undefined || place === undefined ? null : { actions: [action], places: [place] }
}

/** Names the right and the collection, without the statement, which the server quotes in full. */
export function describeRefusal({ actions, places }: RefusedAction): string {
  const where = places.map((place) => `"${place}"`).join(', ')
  return `this user needs ${actions.join(' and ')} on ${where}`
}
