// Seals one secret, stores it, reads it back and opens it.
//
//   KEYTURN_CONFIG=keyturn.yaml DATABASE=app MONGODB_URI=mongodb://… node docs/examples/plain-script.mjs
//
// The configuration names the collection and the field:
//   collections:
//     - { name: secrets, envelopes: [value] }
import { MongoClient } from 'mongodb'
import { openKeyring } from 'keyturn'

const client = new MongoClient(process.env.MONGODB_URI)
const secrets = client.db(process.env.DATABASE).collection('secrets')

// `ephemeral`: the fleet does not expect this process after it has ended. Omit it for a service.
const keyring = await openKeyring({ client, ephemeral: true })
try {
  // An envelope is bound to its place: it opens in no other record, field or collection.
  const place = { collection: 'secrets', field: 'value', id: 'api-token' }
  const value = await keyring.seal('correct horse battery staple', place)
  await secrets.replaceOne({ _id: place.id }, { value }, { upsert: true })

  const record = await secrets.findOne({ _id: place.id })
  const plaintext = await keyring.open(record.value, place)
  console.log(`${plaintext} (under version ${record.value.kek_version})`)
} finally {
  await keyring.close()
  await client.close()
}
