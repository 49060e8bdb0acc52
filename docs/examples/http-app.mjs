// A small web application that keeps secrets in MongoDB and takes part in every rotation without code of its own for it.
//
//   KEYTURN_CONFIG=keyturn.yaml DATABASE=app MONGODB_URI=mongodb://… PORT=8080 node docs/examples/http-app.mjs
//
//   PUT /secrets/:id   seals the body and stores it
//   GET /secrets/:id   reads it, opens it, and answers with it
//   GET /healthz       503 while there is no version to seal under
import { once } from 'node:events'
import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { MongoClient } from 'mongodb'
import { openKeyring } from 'keyturn'

const client = new MongoClient(process.env.MONGODB_URI)
const secrets = client.db(process.env.DATABASE).collection('secrets')
const keyring = await openKeyring({ client, node: process.env.NODE_NAME })

keyring.on('version-switched', ({ from, to }) =>
  console.error(`seals under ${to}, no more ${from}`),
)
keyring.on('lease-lost', () => console.error('cannot reach MongoDB: reads only, until it can'))
keyring.on('key-missing', ({ version, message }) => console.error(`version ${version}: ${message}`))
keyring.on('removed-version-used', ({ version }) =>
  console.error(`still needs version ${version}!`),
)

const placeOf = (id) => ({ collection: 'secrets', field: 'value', id })

const routes = {
  async 'PUT /secrets/:id'(id, request) {
    const value = await keyring.seal(await buffer(request), placeOf(id))
    // Only the field is set, so a rotation that re-wraps another field meanwhile loses nothing.
    await secrets.updateOne({ _id: id }, { $set: { value } }, { upsert: true })
    return { status: 204 }
  },
  async 'GET /secrets/:id'(id) {
    const record = await secrets.findOne({ _id: id })
    if (record === null) return { status: 404, body: 'no such secret\n' }
    return { status: 200, body: await keyring.open(record.value, placeOf(id)) }
  },
  async 'GET /healthz'() {
    return { status: 200, body: `version ${keyring.active()}\n` }
  },
}

const server = createServer(async (request, response) => {
  const [, area, id] = new URL(request.url, 'http://localhost').pathname.split('/')
  const route = routes[`${request.method} /${area}${id === undefined ? '' : '/:id'}`]
  try {
    const { status, body } = (await route?.(id, request)) ?? { status: 404, body: 'no such page\n' }
    response.writeHead(status).end(body)
  } catch (error) {
    // Codes are stable (contracts/errors.ts); a message never holds a secret. 4 means: try again soon.
    console.error(`${error.code ?? 'error'}: ${error.message}`)
    response.writeHead(error.exitCode === undefined ? 500 : 503).end(`${error.code ?? 'error'}\n`)
  }
})

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
await once(server, 'listening')
console.log(`listening on http://127.0.0.1:${server.address().port}`)

await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
server.close()
server.closeIdleConnections()
await once(server, 'close')
// Deletes the heartbeat, so that the fleet knows immediately that this process has no key any more.
await keyring.close()
await client.close()
