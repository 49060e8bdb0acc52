import { KeyturnError } from '../contracts/errors.ts'

/** The tags of record-id.ts whose ids have a text. */
const tags = { string: 0x02, binary: 0x05, objectId: 0x07, integer: 0x12 }
const uuidSubtype = 4

/**
 * The text of a record id, for AAD recipes of existing data: a string as it is, an ObjectId as 24 hex digits, a UUID as 36
 * characters, an integer in decimal. `id` is what `idBytes` made. Throws `id-unsupported` for anything else.
 */
export function idText(id: Buffer): string {
  const value = id.subarray(1)
  const isUuid = id[0] === tags.binary && value[0] === uuidSubtype && value.length === 17
  if (isUuid) return uuid(value.subarray(1))
  switch (id[0]) {
    case tags.string:
      return value.toString('utf8')
    case tags.objectId:
      return value.toString('hex')
    case tags.integer:
      return value.readBigInt64BE().toString()
    default:
      throw new KeyturnError('id-unsupported', 'the layout needs an _id that has a text', {
        hint: 'ids in an aad recipe are strings, ObjectIds, UUIDs or integers',
      })
  }
}

function uuid(bytes: Buffer): string {
  const hex = bytes.toString('hex')
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-')
}
