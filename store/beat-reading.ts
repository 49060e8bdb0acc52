import type { Document } from 'mongodb'
import { collections } from '../contracts/names.ts'
import type { NodeKind, ProofQuestion } from '../contracts/fleet.ts'
import type {
  ActiveDoc,
  InstallDoc,
  NodeDoc,
  QuestionDoc,
  SettingsDoc,
  VersionDoc,
} from './documents.ts'
import { parseNode } from './fleet-documents.ts'
import { isSeenLately } from './fleet-nodes.ts'
import { questionSchema } from './keystore-schemas.ts'
import { keystore } from './keystore.ts'
import { memberAmiss, wellFormed } from './own-documents.ts'
import { lastEntry } from './kek-audit.ts'
import { serverNow, type Store } from './store.ts'

/** What a process reads after each heartbeat. */
export interface BeatReading {
  /** Null before `setup`. */
  install: InstallDoc | null
  /** Null before `setup`. */
  settings: SettingsDoc | null
  /** Null before the first version was installed. */
  active: ActiveDoc | null
  /** Number of the last audit entry; 0 before any. */
  entries: number
  /** In order of their numbers, including intents. */
  versions: VersionDoc[]
  /** The current question for proofs; null before the first. */
  question: ProofQuestion | null
  /** Its row on the roster has already what `seeNode` would write. */
  isSeen: boolean
  /** The database's clock at the reading. */
  now: Date
}

/**
 * One command instead of five: in a fleet of hundreds, a heartbeat's cost for MongoDB is mostly the number of commands. The
 * parts are read one after the other, as by separate commands. Throws `document-malformed`.
 */
export async function readForBeat(
  store: Store,
  node: string,
  kind: NodeKind,
): Promise<BeatReading> {
  const rows = await keystore
    .versions(store)
    .aggregate<{
      install?: InstallDoc
      entries?: number
      version?: VersionDoc
      active?: ActiveDoc
      settings?: SettingsDoc
      question?: QuestionDoc
      own?: { node: NodeDoc; now: Date }
    }>([
      under('version'),
      {
        $unionWith: {
          coll: collections.audit,
          pipeline: [...lastEntry, { $replaceWith: { entries: { $toLong: { $floor: '$_id' } } } }],
        },
      },
      { $unionWith: { coll: collections.install, pipeline: only('install', 'install') } },
      { $unionWith: { coll: collections.active, pipeline: only('active', 'active') } },
      { $unionWith: { coll: collections.settings, pipeline: only('settings', 'settings') } },
      { $unionWith: { coll: collections.questions, pipeline: only('proof', 'question') } },
      {
        $unionWith: {
          coll: collections.nodes,
          pipeline: [
            { $match: { _id: node } },
            { $replaceWith: { own: { node: '$$ROOT', now: '$$NOW' } } },
          ],
        },
      },
    ])
    .toArray()
  const versions = rows.flatMap(({ version }) => version ?? []).map(wellFormed.loadable)
  const own = rows.find((row) => row.own !== undefined)?.own
  return {
    install: wellFormed.install(rows.find(({ install }) => install)?.install ?? null),
    entries: rows.find(({ entries }) => entries !== undefined)?.entries ?? 0,
    settings: wellFormed.settings(rows.find(({ settings }) => settings)?.settings ?? null),
    active: wellFormed.active(rows.find(({ active }) => active)?.active ?? null),
    question: questionOf(rows.find(({ question }) => question)?.question),
    versions: versions.sort((one, other) => one._id - other._id),
    isSeen: own !== undefined && isSeenLately(parseNode(own.node), kind, own.now),
    now: own?.now ?? (await serverNow(store)),
  }
}

/** A malformed question counts as none: the next question replaces it. */
function questionOf(row: QuestionDoc | undefined): ProofQuestion | null {
  return row === undefined || memberAmiss(questionSchema, row) !== null ? null : row
}

/** Only the document with this `_id`, under one name. */
function only(_id: string, name: string): Document[] {
  return [{ $match: { _id } }, under(name)]
}

/** The whole document under one name, which names its collection. */
function under(name: string): Document {
  return { $replaceWith: { [name]: '$$ROOT' } }
}
