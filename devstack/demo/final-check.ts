import type { Db } from 'mongodb'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Keyring } from '../../keyring/index.ts'
import { at, digestKey, digestOf, families, placeOf } from './records.ts'
import type { Digests, Family } from './records.ts'

export interface Opened {
  /** Envelopes that opened to the very plaintext they were sealed with. */
  same: number
  /** Up to five lines, each naming a record and what is wrong with it. */
  wrong: string[]
  /** Envelopes by version. */
  byVersion: Map<number, number>
  missing: number
}

interface StoredRecord {
  _id: string
  [name: string]: unknown
}

const batch = 500
const wrongShown = 5

/** Opens every envelope there is and compares each plaintext's digest with the one from before. */
export async function openEverything(keyring: Keyring, db: Db, expected: Digests): Promise<Opened> {
  const opened: Opened = { same: 0, wrong: [], byVersion: new Map(), missing: expected.size }
  for (const family of families) {
    const cursor = db.collection<StoredRecord>(family.collection).find().batchSize(batch)
    let records: StoredRecord[] = []
    for await (const record of cursor) {
      records.push(record)
      if (records.length < batch) continue
      await openBatch(keyring, family, records, expected, opened)
      records = []
    }
    await openBatch(keyring, family, records, expected, opened)
  }
  return opened
}

async function openBatch(
  keyring: Keyring,
  family: Family,
  records: readonly StoredRecord[],
  expected: Digests,
  opened: Opened,
): Promise<void> {
  if (records.length === 0) return
  const plaintexts = await keyring.openMany(
    records.map((record) => ({
      envelope: at(record, family.field),
      place: placeOf(family, record._id),
    })),
  )
  for (const [index, record] of records.entries()) {
    const version = Number(at(record, `${family.field}.kek_version`))
    opened.byVersion.set(version, (opened.byVersion.get(version) ?? 0) + 1)
    const wish = expected.get(digestKey(family, record._id))
    if (wish !== undefined) opened.missing -= 1
    const problem = problemOf(plaintexts[index], wish)
    if (problem === null) opened.same += 1
    else if (opened.wrong.length < wrongShown) {
      opened.wrong.push(`${digestKey(family, record._id)}: ${problem}`)
    }
  }
}

function problemOf(plaintext: Buffer | KeyturnError | undefined, wish: string | undefined) {
  if (plaintext === undefined) return 'no answer'
  if (plaintext instanceof KeyturnError) return plaintext.message
  return digestOf(plaintext) === wish ? null : 'another plaintext than before'
}
