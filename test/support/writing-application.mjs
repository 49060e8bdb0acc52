// An application that seals and writes as fast as it can, and prints each result. Its keyring uses the connection of its
// configuration, its records a connection of their own: it can still write when it loses the keystore.
import { createHash } from 'node:crypto'
import { MongoClient } from 'mongodb'
import { openKeyring } from 'keyturn'

const { NODE_NAME, DATABASE, RECORDS_URI, IS_EPHEMERAL } = process.env
const place = { collection: 'certificates', field: 'private_key' }
const client = new MongoClient(RECORDS_URI)
const records = client.db(DATABASE).collection(place.collection)
const keyring = await openKeyring({ node: NODE_NAME, ephemeral: IS_EPHEMERAL === 'true' })
let isOver = false
process.once('SIGTERM', () => (isOver = true))

for (let count = 0; !isOver; count += 1) {
  const begun = Date.now()
  const id = `${NODE_NAME}-${process.pid}-${count}`
  try {
    const envelope = await keyring.seal(`secret of ${id}`, { ...place, id })
    await records.insertOne({ _id: id, [place.field]: envelope })
    const data = createHash('sha256').update(envelope.iv).update(envelope.ciphertext).digest('hex')
    console.log(`wrote ${envelope.kek_version} ${begun} ${id} ${data}`)
  } catch (error) {
    console.log(`refused ${error.code} ${begun}`)
  }
  await new Promise((resolve) => globalThis.setTimeout(resolve, 20))
}
await keyring.close()
await client.close()
